"""gRPC stubs of a .proto file, generated when they are needed. Needs grpcio and grpcio-tools."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kvarts

MODULES = ("grpc", "grpc_tools")
CHANNELS = 4
"""Connections per client: one alone is slower, with etcd by a tenth."""
PROTO = Path(__file__).parents[4] / "proto"
"""The public protocol: in the source tree, and nowhere in an installed package."""


def are_possible() -> bool:
    """Tell whether stubs can be generated and used."""
    return all(find_spec(module) for module in MODULES)


def etcd_stubs(folder: Path) -> tuple[Any, Any]:
    """Return messages and services of etcd."""
    _generate(Path(__file__).parent, ["etcd.proto"], folder)
    sys.path.append(str(folder))
    return import_module("etcd_pb2"), import_module("etcd_pb2_grpc")


def kvarts_stubs(folder: Path) -> dict[str, Any]:
    """Return the modules of kvarts.v1 by their last name, such as `kv_pb2_grpc`."""
    files = sorted(str(file.relative_to(PROTO)) for file in (PROTO / "kvarts/v1").glob("*.proto"))
    _generate(PROTO, files, folder)
    # The stubs are of a package `kvarts.v1`, and `kvarts` is us: let it reach into the folder.
    kvarts.__path__.append(str(folder / "kvarts"))
    names = [f"{Path(file).stem}_pb2{end}" for file in files for end in ("", "_grpc")]
    return {name: import_module(f"kvarts.v1.{name}") for name in names}


def open_channels(address: str) -> list[Any]:
    """Return channels to one address, each with a connection of its own."""
    grpc: Any = import_module("grpc")
    # Without this, channels to one address share their connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    return [grpc.aio.insecure_channel(address, options=options) for _ in range(CHANNELS)]


def _generate(root: Path, files: list[str], folder: Path) -> None:
    protoc: Any = import_module("grpc_tools.protoc")
    folder.mkdir(parents=True, exist_ok=True)
    words = ["protoc", f"-I{root}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main([*words, *(str(root / file) for file in files)]) != 0:
        raise RuntimeError(f"no stubs of {', '.join(files)}")
