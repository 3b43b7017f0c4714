import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rpc import sparring_pb2 as pb
from common.task import Episode, EpisodeRecord, EpisodeSummary, RolloutTask
from common.wire import (
    Answer,
    WireError,
    array_from_bytes,
    array_to_bytes,
    chunks,
    summary_from_proto,
    task_from_proto,
    task_to_proto,
)

TASK = RolloutTask(
    task_id=7,
    game="YouShallNotPassHumans",
    physics="fast",
    record=1,
    lanes=4,
    episodes=(Episode(2**64 - 1, ("a", "b")), Episode(5, ("c", "b"))),
    deterministic=(False, True),
)


def record(index: int, length: int, width: int = 3) -> EpisodeRecord:
    rng = np.random.default_rng(index)
    return EpisodeRecord(
        index,
        EpisodeSummary(length, -1, True, (1.0, 2.0), (0.0, -3.0), 4),
        rng.standard_normal((length + 1, width)).astype(np.float32),
        rng.standard_normal((length, 2)).astype(np.float32),
        rng.standard_normal((length, 3)).astype(np.float32),
    )


def test_a_task_survives_the_wire() -> None:
    message = pb.Task.FromString(task_to_proto(TASK, lease=3).SerializeToString())
    assert task_from_proto(message) == TASK
    assert (message.task, message.lease) == (7, 3)


@pytest.mark.parametrize("change", ["seed", "lanes", "policy"])
def test_an_altered_task_is_noticed(change: str) -> None:
    message = task_to_proto(TASK, lease=3)
    if change == "seed":
        message.episodes[0].seed = 1
    elif change == "lanes":
        message.lanes = 5
    else:
        message.episodes[0].policies[0] = 99
    with pytest.raises(WireError):
        task_from_proto(message)


def test_floats_travel_as_little_endian_rows() -> None:
    array = np.array([[1.5, -2.0], [0.25, 4.0]], np.float32)
    assert array_to_bytes(array) == np.array([1.5, -2, 0.25, 4], "<f4").tobytes()
    assert array_to_bytes(np.asfortranarray(array)) == array_to_bytes(array)
    np.testing.assert_array_equal(array_from_bytes(array_to_bytes(array), 2, 2, "x"), array)


def test_bytes_of_another_size_name_both_sizes() -> None:
    with pytest.raises(WireError, match=r"obs: 15 bytes, should be 2 x 2 float32 \(16 bytes\)"):
        array_from_bytes(b"\0" * 15, 2, 2, "obs")


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    chunk_bytes=st.integers(1, 2000),
)
def test_chunks_hold_everything_once_and_in_order(lengths: list[int], chunk_bytes: int) -> None:
    records = [record(i, length) for i, length in enumerate(lengths)]
    sent = list(chunks(Answer(1, 2, 3, "d"), records, chunk_bytes))
    assert [c.last for c in sent] == [False] * (len(sent) - 1) + [True]
    for original in records:
        segments = [s for c in sent for s in c.segments if s.episode == original.index]
        assert [s.HasField("summary") for s in segments] == [False] * (len(segments) - 1) + [True]
        assert b"".join(s.observations for s in segments) == array_to_bytes(original.observations)
        assert b"".join(s.actions for s in segments) == array_to_bytes(original.actions)
        assert b"".join(s.rewards for s in segments) == array_to_bytes(original.rewards)
        assert [s.start for s in segments] == list(
            np.cumsum([0, *(s.steps for s in segments[:-1])])
        )
        assert summary_from_proto(segments[-1].summary) == original.summary


def test_chunks_are_about_a_mebibyte() -> None:
    sent = list(chunks(Answer(1, 2, 3, "d"), [record(i, 500, 380) for i in range(8)]))
    sizes = [c.ByteSize() for c in sent]
    assert max(sizes) < 1.1 * 2**20
    assert np.mean(sizes) > 0.5 * 2**20
