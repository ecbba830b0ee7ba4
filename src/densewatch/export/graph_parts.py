"""The parts of a network in a model file: what may be quantised, and what must stay in float."""

from __future__ import annotations

import re

import onnx

_CONVOLUTIONS = ("Conv", "ConvTranspose")
# Of the names that weights have in PyTorch: `backbone.stages.2`, `pyramid`, `class_head.tower`.
_PART = re.compile(r"network\.(backbone\.\w+(?:\.\w+)?|\w+_head\.\w+|\w+)\.")
_NUM_BLOCKS = 8


def name_nodes(graph: onnx.GraphProto) -> None:
    """Give nodes without a name one, so that each can be spoken of."""
    for index, node in enumerate(graph.node):
        node.name = node.name or f"node_{index}"


def split_graph(graph: onnx.GraphProto) -> tuple[dict[str, list[str]], list[str]]:
    """Return the parts of a network, and what comes after its last convolutions.

    A part is a run of convolutions with what lies between them: a stage of the backbone, the pyramid, the
    tower or the output of a head. Parts have the names of their weights in PyTorch. In a graph that lost
    them, a part is one of eight blocks of convolutions in graph order.

    What comes after the last convolutions is top-k and box decoding. Eight bits there would round
    coordinates and areas: boxes would move by pixels, and small ones vanish.

    Args:
        graph: its nodes have names, and each comes after those whose outputs it takes, as ONNX demands.

    Returns:
        part → names of its nodes, in graph order; and names of the nodes after the last convolutions.
    """
    ahead, after = _around_convolutions(graph)
    part_of_convolution = _part_names([node for node in ahead if node.op_type in _CONVOLUTIONS])
    parts: dict[str, list[str]] = {part: [] for part in part_of_convolution.values()}
    order = list(parts)
    made_in: dict[str, str] = {}
    for node in ahead:
        sources = {made_in[value] for value in node.input if value in made_in}
        latest = max(sources, key=order.index, default=order[0])
        part = part_of_convolution.get(node.name, latest)
        parts[part].append(node.name)
        made_in.update(dict.fromkeys(node.output, part))
    return parts, [node.name for node in after]


def _around_convolutions(graph: onnx.GraphProto) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Return the nodes that are, or lead to, a convolution, and the others, both in graph order."""
    needed: set[str] = set()
    ahead = []
    for node in reversed(graph.node):
        if node.op_type in _CONVOLUTIONS or needed.intersection(node.output):
            needed.update(filter(None, node.input))  # an input that is left out has an empty name
            ahead.append(node)
    chosen = {node.name for node in ahead}
    return ahead[::-1], [node for node in graph.node if node.name not in chosen]


def _part_names(convolutions: list[onnx.NodeProto]) -> dict[str, str]:
    """Return convolution → part: by the names of weights if all of them tell, else by position."""
    found = [_PART.match(node.input[1]) for node in convolutions]
    named = {node.name: match[1] for node, match in zip(convolutions, found, strict=True) if match}
    if len(named) == len(convolutions):
        return named
    size = -(-len(convolutions) // _NUM_BLOCKS)
    return {
        node.name: f"convolutions {first + 1}-{min(first + size, len(convolutions))}"
        for first in range(0, len(convolutions), size)
        for node in convolutions[first : first + size]
    }
