"""Fuzzing the checkpoint reader: a hypernetwork comes out of a file, or an InputError; nothing in it is ever executed.

    python tests/fuzz/fuzz_checkpoint.py --seconds 60

Mutations, mixed: bytes anywhere; a safetensors file's header (names, types, shapes, places, metadata); a released
checkpoint's archive (its members) and its pickle, into which opcodes that call things are put, and numbers that aren't
any. A file that crashes the interpreter stays in the folder that is printed at the start.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from hypothesis import strategies as st
from safetensors.torch import save_file

from chunkv2l.errors import InputError
from chunkv2l.hypernet import HypernetConfig, Hypernetwork, load_hypernetwork, save_hypernetwork
from chunkv2l.hypernet.released import NAMES
from chunkv2l.indexing.progress import peak_memory
from tests.fuzz.harness import Case, check_time, main
from tests.helpers.frames2lora import FOLDER

SLOWEST = 5.0
"""Seconds of CPU time that reading a small file may take, whatever is in it (`harness.check_time`)."""
MEMORY = 512 << 20
"""Bytes that it may take."""
CALLS = ("os system", "builtins eval", "builtins open", "posix mkdir", "torch load", "subprocess Popen", *NAMES)

json_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "C64"]),
    st.lists(st.integers(-1, 2**40), max_size=4),
    st.lists(st.integers(0, 64), max_size=3),
)
byte_mutations = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.floats(0, 1), st.binary(min_size=1, max_size=16)),
        st.tuples(st.just("set"), st.floats(0, 0.001), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("set"), st.floats(0.98, 1), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("put"), st.floats(0, 1), st.binary(min_size=1, max_size=16)),
        st.tuples(st.just("drop"), st.floats(0, 1), st.integers(1, 200)),
        st.tuples(st.just("cut"), st.floats(0, 1), st.none()),
    ),
    max_size=3,
)
header_mutations = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["dtype", "shape", "data_offsets"]), st.integers(0, 60), json_values),
        st.tuples(st.just("rename"), st.integers(0, 60), st.text(max_size=20)),
        st.tuples(st.just("remove"), st.integers(0, 60), st.none()),
        st.tuples(st.just("copy"), st.integers(0, 60), st.text(max_size=20)),
        st.tuples(st.just("metadata"), st.integers(0, 20), json_values),
    ),
    max_size=3,
)
member_mutations = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.floats(0, 1), st.sampled_from(CALLS)),
        st.tuples(st.just("opcode"), st.floats(0, 1), st.binary(min_size=1, max_size=4)),
        st.tuples(st.just("number"), st.floats(0, 1), st.integers(0, 2**31 - 1)),
        st.tuples(st.just("pickle"), st.floats(0, 1), st.binary(min_size=1, max_size=12)),
        st.tuples(
            st.just("storage"), st.floats(0, 1), st.sampled_from([b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff" * 9])
        ),
        st.tuples(st.just("lose"), st.floats(0, 1), st.none()),
        st.tuples(st.just("rename"), st.floats(0, 1), st.text(max_size=12)),
        st.tuples(st.just("add"), st.floats(0, 1), st.sampled_from(["constants.pkl", "data/0", "x", "version"])),
        st.tuples(st.just("bomb"), st.floats(0, 1), st.integers(1, 1 << 26)),
    ),
    max_size=3,
)


class Target:
    """Sound files of every kind that is read, and what happens to mutations of them."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.mark, self.path = folder / "executed", folder / "mutated"
        sizes: dict[str, Any] = {"latent_size": 8, "rank": 2, "num_blocks": 1, "num_queries": 2}
        small = Hypernetwork(HypernetConfig(2, 6, 10, **sizes, num_heads=2, num_kv_heads=1, head_dim=4))
        save_hypernetwork(small, folder / "own.safetensors")
        bare = Hypernetwork(HypernetConfig(2, 6, 10, **sizes))
        save_file(bare.state_dict(), folder / "bare.safetensors")
        tensors = [folder / "own.safetensors", folder / "bare.safetensors"]
        state = {key: value.clone() for key, value in bare.state_dict().items()}
        torch.save(state, folder / "plain.pt")
        archives = [FOLDER / "checkpoint_tiny.pt", folder / "plain.pt"]
        self.sounds = [*tensors, *archives]
        self.tensors = [path.read_bytes() for path in tensors]
        self.archives = [_members(path.read_bytes()) for path in archives]
        self.refused = self.read = 0

    def cases(self) -> list[Case]:
        return [
            Case(self.header, (st.integers(0, 1), header_mutations, byte_mutations), 100),
            Case(self.archive, (st.sampled_from([0, 1, 1, 1]), member_mutations, byte_mutations), 60),
        ]

    def header(self, which: int, mutations: list[Any], in_bytes: list[Any]) -> None:
        """A safetensors file."""
        data = self.tensors[which]
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        for how, where, what in mutations:
            names = [name for name in header if name != "__metadata__"]
            name = names[where % len(names)] if names else ""
            if how == "metadata":
                _change_metadata(header.setdefault("__metadata__", {}), where, what)
            elif name and how == "rename":
                header[what] = header.pop(name)
            elif name and how == "copy":
                header[what] = dict(header[name])
            elif name and how == "remove":
                del header[name]
            elif name:
                header[name][how] = what
        text = json.dumps(header).encode()
        self.check(_mutated(struct.pack("<Q", len(text)) + text + data[8 + length :], in_bytes))

    def archive(self, which: int, mutations: list[Any], in_bytes: list[Any]) -> None:
        """A released checkpoint."""
        members = dict(self.archives[which])
        packed = zipfile.ZIP_STORED
        for how, where, what in mutations:
            names = list(members)
            if not names:
                break
            name = names[int(where * (len(names) - 1))]
            top = names[0].partition("/")[0]
            pickled = f"{top}/data.pkl"
            if how in ("call", "opcode", "number", "pickle") and pickled in members:
                members[pickled] = self._pickle(members[pickled], how, where, what)
            elif how == "storage":
                members[name] = _mutated(members[name], [("set", where, what)])
            elif how == "lose":
                del members[name]
            elif how == "rename":
                members[f"{top}/{what}"] = members.pop(name)
            elif how == "add":
                members[f"{top}/{what}"] = b"\x80\x02}."
            elif how == "bomb":
                members[name], packed = bytes(what), zipfile.ZIP_DEFLATED
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", packed) as out:
            for name, data in members.items():
                out.writestr(name.replace("\0", "?").encode(errors="replace").decode(), data)
        self.check(_mutated(buffer.getvalue(), in_bytes))

    def _pickle(self, data: bytes, how: str, where: float, what: Any) -> bytes:
        place = int(where * len(data))
        if how == "call":
            module, _, name = what.replace(" ", ".").rpartition(".")
            argument = f"X{''}".encode() + struct.pack("<I", len(str(self.mark))) + str(self.mark).encode()
            call = f"c{module}\n{name}\n".encode() + argument + b"\x85R0"  # name(argument), and forget the result
            boundary = data.find(b"X", place)  # in front of a string, where a value may stand
            place = boundary if boundary >= 0 else place
            return data[:place] + call + data[place:]
        if how == "number":  # sizes, strides and offsets are BININT1 (K), BININT2 (M) or BININT (J)
            place = data.find(b"K", place)
            return data if place < 0 else data[:place] + b"J" + struct.pack("<i", what) + data[place + 2 :]
        new: bytes = what
        return data[:place] + new + data[place + (len(new) if how == "opcode" else 0) :]

    def check(self, data: bytes) -> None:
        """Read it; only a whole hypernetwork or an InputError with a sentence may come of it."""
        self.path.write_bytes(data)
        started, memory = time.process_time(), peak_memory() or 0
        try:
            hypernet = load_hypernetwork(self.path)
        except InputError as error:
            assert str(self.path) in str(error) and str(error).isprintable(), str(error)
            self.refused += 1
        else:
            assert all(p.dtype == torch.float32 and bool(torch.isfinite(p).all()) for p in hypernet.parameters())
            assert hypernet.bias.A.shape[0] == hypernet.config.num_layers and hypernet.scaling > 0
            self.read += 1
        spent = time.process_time() - started
        check_time(spent, SLOWEST, lambda: load_hypernetwork(self.path), self._read_sound)
        assert (peak_memory() or 0) - memory < MEMORY
        assert not self.mark.exists()
        assert not any(name.startswith("ctx_to_lora") for name in sys.modules)
        assert self.path.read_bytes() == data

    def _read_sound(self) -> None:
        for path in self.sounds:
            load_hypernetwork(path)

    def __str__(self) -> str:
        return f"{self.refused + self.read} files: {self.refused} refused, {self.read} read"


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _mutated(data: bytes, mutations: list[Any]) -> bytes:
    changed = bytearray(data)
    for how, where, what in mutations:
        place = int(where * len(changed))
        if how == "set":
            changed[place : place + len(what)] = what
        elif how == "put":
            changed[place:place] = what
        elif how == "drop":
            del changed[place : place + what]
        else:
            del changed[place:]
    return bytes(changed)


def _change_metadata(metadata: dict[str, Any], where: int, what: Any) -> None:
    """A setting of our own configuration, or the metadata themselves."""
    try:
        config = json.loads(metadata.get("config", ""))
        config[list(config)[where % len(config)]] = what
        metadata["config"] = json.dumps(config)
    except (ValueError, TypeError, ZeroDivisionError):
        metadata["config" if where % 2 else "format"] = what


if __name__ == "__main__":
    main(__doc__, "checkpoint", Target)
