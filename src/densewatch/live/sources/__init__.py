"""Where frames come from: videos, streams and webcams, folders of pictures, and a demo."""
