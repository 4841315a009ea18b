"""Tests of messages and stops within an epoch."""

from tests.support.training import MODEL, TRAINING, UndeliveredMessages, train_here


def test_a_worker_stops_when_nobody_listens(prepared: str) -> None:
    messages = UndeliveredMessages()

    returned = train_here(prepared, MODEL, TRAINING, messages)

    assert returned == {"stopped": None}
    assert [kind for kind, _ in messages] == ["workers"]
