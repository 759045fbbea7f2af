"""The mesh of a run that names none: by rows while half of a device holds the state, then parameters, then layers."""

import pytest

from flan_jax.train.mesh.mesh_choice import Room, choose_mesh
from flan_jax.train.sharding import MeshConfig, ShardingRules

GIB = 2**30
OPEN = MeshConfig()


@pytest.mark.parametrize(
    ("state", "rows", "room", "sizes"),
    [
        (4, 64, Room(8, 8, 8 * GIB), (8, 1, 1)),  # half of a device
        (5, 64, Room(8, 8, 8 * GIB), (1, 8, 1)),
        (20, 64, Room(16, 8, 8 * GIB), (2, 8, 1)),  # a host's devices hold it, so hosts split the rows
        (40, 64, Room(16, 8, 8 * GIB), (1, 2, 8)),  # gathered between hosts, a share by each device of a host
        (40, 64, Room(16, 1, 8 * GIB), (1, 16, 1)),
        (100, 64, Room(16, 8, 8 * GIB), (1, 2, 8)),  # more than half of all
        (100, 64, Room(16, 16, 8 * GIB), (1, 8, 2)),
        (20, 4, Room(8, 8, 8 * GIB), (1, 4, 2)),  # a row is the least that a device computes
        (20, 3, Room(8, 8, 8 * GIB), (1, 1, 8)),
        (20, 3, Room(8, 4, 8 * GIB), (1, 8, 1)),  # no size fits: the batch is refused by who checks it
        (4, 4, Room(8, 8, 8 * GIB), (8, 1, 1)),
    ],
)
def test_the_rule(state: int, rows: int, room: Room, sizes: tuple[int, int, int]) -> None:
    choice = choose_mesh(OPEN, room, state=state * GIB, rows=rows)
    assert choice.mesh.sizes(room.devices) == sizes
    assert choice.reason.startswith(f"data={sizes[0]}, fsdp={sizes[1]}, tensor={sizes[2]}, as ")
    assert (choice.mesh == OPEN) == (sizes[1:] == (1, 1))


def test_what_is_named_stays() -> None:
    room = Room(8, 8, 8 * GIB)
    for mesh in (MeshConfig(data=-1), MeshConfig(tensor=2), MeshConfig(fsdp=-1)):
        assert choose_mesh(mesh, room, state=99 * GIB, rows=64).mesh is mesh
        assert not choose_mesh(mesh, room, state=99 * GIB, rows=64).reason
    for one in (Room(1, 1, GIB), Room(8, 8, 0)):
        assert choose_mesh(OPEN, one, state=99 * GIB, rows=64).mesh is OPEN
    rules = ShardingRules(vocab=())
    assert choose_mesh(MeshConfig(rules=rules), room, state=9 * GIB, rows=64).mesh == MeshConfig(1, 8, 1, rules)


def test_one_axis_may_be_named_alone() -> None:
    assert MeshConfig(fsdp=-1).sizes(8) == (1, 8, 1)
    assert MeshConfig(fsdp=4).sizes(8) == (2, 4, 1)
    assert MeshConfig(tensor=-1).sizes(8) == (1, 1, 8)
