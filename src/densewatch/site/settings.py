"""What a user may set of a site; each setting explains itself, for the schema and for the documentation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    IPvAnyNetwork,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from densewatch.live.address import parse_address
from densewatch.live.frames import SourceError
from densewatch.live.policy import SourcePolicy
from densewatch.live.references import check_references, has_references, without_references
from densewatch.live.settings import CameraSettings, Id, VariableName
from densewatch.site.addresses import certified_name, check_origin, host_name, is_loopback

UNENCRYPTED = "I accept unencrypted connections"
"""What a user must write to serve other machines without TLS."""

MAX_CAMERAS = 64
DATABASE_FILE = "densewatch.db"

EngineName = Literal["auto", "openvino", "onnxruntime", "tensorrt", "torch"]
Precision = Literal["auto", "float32", "bfloat16"]
Scheme = Literal["rtsp", "rtsps", "http", "https"]
Role = Literal["viewer", "operator", "admin"]
BinSeconds = Literal[10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600]
"""Each divides an hour, so that bins add up to hours and days."""

UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
Days = Annotated[float, Field(gt=0, le=36_500)]


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    """Return a path as seen from the folder of the site's file, which is the context of the validation."""
    folder: Path = (info.context or {}).get("folder", Path())
    return folder / path.expanduser()


FilePath = Annotated[Path, AfterValidator(_from_folder)]
"""Relative to the folder of the site's file."""

CertifiedName = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(certified_name)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$"), AfterValidator(host_name)]
Origin = Annotated[str, AfterValidator(check_origin)]


class _Settings(BaseModel):
    # Inputs may hold passwords: they stay out of errors' texts.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class ModelSettings(_Settings):
    """Which detector looks at the frames, and with what; the arguments of `densewatch.load`."""

    model: str | None = Field(
        None, description="a model file or the name of a pulled model; the embedded one where it is left out"
    )
    engine: EngineName = Field("auto", description="what computes")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$", description="auto, cpu, cuda or cuda:N"
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="of the CPU; one a physical core where it is left out"
    )
    precision: Precision = Field("auto", description="numeric type; auto is the fastest that the device has")
    batch: int | None = Field(
        None, ge=1, le=256, description="how many frames may go through the network together"
    )

    @field_validator("model")
    @classmethod
    def _model_file(cls, model: str | None, info: ValidationInfo) -> str | None:
        is_file = model is not None and model.endswith((".onnx", ".safetensors"))
        return str(_from_folder(Path(model), info)) if model is not None and is_file else model


class SourceRules(_Settings):
    """What cameras may be opened from; all else is refused, also where a camera sends one elsewhere."""

    schemes: tuple[Scheme, ...] = Field(
        ("rtsp", "rtsps", "http", "https"), description="of addresses that may be opened"
    )
    private_networks: bool = Field(
        False, description="cameras may be on private networks, such as 192.168.0.0/16"
    )
    networks: tuple[IPvAnyNetwork, ...] = Field(
        (),
        max_length=64,
        description="networks that are allowed besides public ones, such as 192.168.7.0/24; 127.0.0.0/8 is "
        "this machine itself",
    )
    folders: tuple[FilePath, ...] = Field(
        (), max_length=64, description="folders that videos and pictures may come from"
    )
    devices: bool = Field(False, description="cameras may be devices of this machine, such as /dev/video0")

    def to_policy(self) -> SourcePolicy:
        """Return the rules as those who open sources take them."""
        return SourcePolicy(
            schemes=frozenset(self.schemes),
            private=self.private_networks,
            networks=self.networks,
            folders=self.folders,
            devices=None if self.devices else frozenset(),
        )


class RetentionSettings(_Settings):
    """How long things are kept; null keeps them for ever."""

    counts_days: Days | None = Field(400, description="number of days: counts and crossings by time bin")
    events_days: Days | None = Field(30, description="number of days: events; their pictures go with them")
    snapshots_days: Days | None = Field(14, description="number of days: pictures of events")
    audit_days: Days | None = Field(365, description="number of days: who signed in, and who changed what")
    max_size: Annotated[ByteSize, Field(ge=10_000_000)] | None = Field(
        ByteSize(20_000_000_000),
        description="of pictures and SQLite's file together, such as 20 GB; the oldest pictures go first",
    )

    @model_validator(mode="after")
    def _pictures_go_with_events(self) -> Self:
        events, snapshots = self.events_days, self.snapshots_days
        if (
            events is not None
            and snapshots is not None
            and snapshots > events
            and "snapshots_days" in self.model_fields_set
        ):
            raise PydanticCustomError(
                "retention",
                "pictures go with their events, which are kept for {events} days: set at most that, or raise "
                "events_days",
                {"events": f"{events:g}", "at": ("snapshots_days",)},
            )
        return self


class StoreSettings(_Settings):
    """Where events, counts and pictures are kept, and for how long."""

    folder: FilePath = Field(
        Path("densewatch-data"),
        validate_default=True,
        description="for pictures, certificates and the database, unless that has a url",
    )
    url: str | None = Field(
        None,
        repr=False,  # may hold a password
        description="of the database, such as "
        "postgresql+psycopg://densewatch:${DB_PASSWORD}@db.example/densewatch; "
        "SQLite in the folder where it is left out",
    )
    bin_seconds: BinSeconds = Field(60, description="length of the time bins of counts")
    reserve: Annotated[ByteSize, Field(ge=0)] = Field(
        ByteSize(256 << 20),
        description="of the disk, such as 5 GB, for everybody else: with less free, nothing is kept",
    )
    retention: RetentionSettings = Field(
        default_factory=RetentionSettings, description="how long things are kept"
    )

    @field_validator("url")
    @classmethod
    def _known_database(cls, url: str | None) -> str | None:
        if url is None:
            return None
        check_references(url)
        if not url.startswith(("sqlite:///", "postgresql+psycopg://", "${")):
            raise ValueError("must begin with postgresql+psycopg:// or sqlite:///")
        return url


class TlsSettings(_Settings):
    """Encryption, with a certificate of yours or a self-made one; `self-signed` alone means the latter."""

    certificate: FilePath | None = Field(
        None, description="PEM file: the certificate, and those between it and its root"
    )
    key: FilePath | None = Field(None, description="PEM file: the certificate's private key")
    self_signed: bool = Field(
        False, description="make a certificate, and keep it in the store's folder; browsers ask about it once"
    )
    names: tuple[CertifiedName, ...] = Field(
        (),
        max_length=32,
        description="hosts that a self-made certificate is for, besides this machine's own names",
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"const": "self-signed"}, handler(schema)]}

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        return {"self_signed": True} if value == "self-signed" else value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a certificate and its key belong together: give both files")
        if self.self_signed == (self.certificate is not None):
            raise ValueError("give certificate and key, or self_signed: true, and not both")
        return self


class LimitSettings(_Settings):
    """How much one client may ask of the server, so that none can keep it from the others."""

    requests_per_second: float = Field(50, gt=0, le=10_000, description="of one address, over time")
    requests_at_once: int = Field(300, ge=1, le=100_000, description="of one address, after a pause")
    sign_ins_per_minute: float = Field(10, gt=0, le=1000, description="attempts of one address to sign in")
    live_views: int = Field(
        64, ge=1, le=10_000, description="open live pictures, of all clients together; 16 of one address"
    )


class ServerSettings(_Settings):
    """The dashboard and the API."""

    host: Host = Field(
        "127.0.0.1",
        description="address to listen on: 127.0.0.1 is for this machine alone, 0.0.0.0 for others too",
    )
    port: int = Field(8000, ge=0, le=65535, description="to listen on; 0 takes a free one")
    tls: TlsSettings | None = Field(None, description="encryption: certificate and key, or `self-signed`")
    plain_http: Literal["I accept unencrypted connections"] | None = Field(
        None, description=f"to serve other machines without TLS, write: {UNENCRYPTED}"
    )
    public_url: Origin | None = Field(
        None, description="what users type to get here, behind a proxy, such as https://watch.example"
    )
    allowed_origins: tuple[Origin, ...] = Field(
        (),
        max_length=32,
        description="further addresses under which the dashboard is reached, such as https://intra.example",
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        (), max_length=32, description="addresses or networks whose X-Forwarded headers are believed"
    )
    session_hours: float = Field(12, gt=0, le=8760, description="how long a sign-in lasts")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="how much one client may ask")

    @model_validator(mode="after")
    def _encrypted_beyond_this_machine(self) -> Self:
        if self.tls is not None and self.plain_http is not None:
            raise ValueError("tls and plain_http are both given: leave one out")
        if not is_loopback(self.host) and self.tls is None and self.plain_http is None:
            raise PydanticCustomError(
                "unencrypted",
                "other machines would send passwords and pictures in the clear: write `tls: self-signed`, "
                "give `tls` a certificate and its key, or, on a network that you trust, write "
                "`plain_http: {words}`",
                {"words": UNENCRYPTED, "at": ("host",)},
            )
        return self


class UserSettings(_Settings):
    """Somebody who may sign in. Passwords stand elsewhere; those given here are checked at each start."""

    name: UserName = Field(description="to sign in with")
    role: Role = Field(
        description="viewer sees; operator draws zones and lines too; admin also masks and users"
    )
    password_env: VariableName | None = Field(
        None, description="name of the environment variable that holds the password"
    )
    password_file: FilePath | None = Field(None, description="file that holds the password")

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if (self.password_env is None) == (self.password_file is None):
            raise ValueError("needs one of password_env: NAME and password_file: PATH")
        return self


def _nothing_given() -> Any:
    return {}


def _placed(camera: CameraSettings, info: ValidationInfo) -> CameraSettings:
    """Return a camera whose relative paths begin at the folder of the file, if its source is allowed."""
    rules: SourceRules | None = info.data.get("sources")
    changes: dict[str, str] = {}
    try:
        check_references(camera.source)
        address = parse_address(without_references(camera.source))
        if address.kind in ("file", "folder") and not camera.source.startswith("${"):
            changes["source"] = str(_from_folder(Path(camera.source), info))
            address = replace(address, location=changes["source"])
        if rules is not None and not has_references(camera.source):
            rules.to_policy().check(address)
    except (ValueError, SourceError) as error:
        why = str(error)
        if isinstance(error, SourceError) and error.reason == "policy":
            why += "; the section `sources` can allow it"
        raise PydanticCustomError("source", "{why}", {"why": why, "at": ("source",)}) from None
    if camera.password_file is not None:
        changes["password_file"] = str(_from_folder(Path(camera.password_file), info))
    return camera.model_copy(update=changes)


class SiteSettings(_Settings):
    """A site: its cameras, and all that is done with what they see."""

    model: ModelSettings = Field(default_factory=ModelSettings, description="which detector, and how it runs")
    sources: SourceRules = Field(default_factory=SourceRules, description="what cameras may be opened from")
    # After `sources`, which says what is allowed.
    cameras: dict[Id, Annotated[CameraSettings, AfterValidator(_placed)]] = Field(
        min_length=1, max_length=MAX_CAMERAS, description="by id: lower-case letters, digits, - and _"
    )
    store: StoreSettings = Field(
        # Made by validation, which knows from where its folder is seen.
        default_factory=_nothing_given,
        validate_default=True,
        description="what is kept, where and how long",
    )
    server: ServerSettings = Field(default_factory=ServerSettings, description="the dashboard and the API")
    users: tuple[UserSettings, ...] = Field(
        (), max_length=1000, description="who may sign in, besides those added in the dashboard"
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [user.name.casefold() for user in self.users]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise PydanticCustomError(
                    "same_name", "another user has this name", {"at": ("users", number, "name")}
                )
        return self

    def __repr__(self) -> str:
        return f"SiteSettings(cameras: {', '.join(self.cameras)})"
