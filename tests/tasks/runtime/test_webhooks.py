import pytest

from tasks.runtime.webhooks import ATTEMPTS, post
from tests.support.ports import free_port
from tests.support.receiver import receiving


def test_an_object_arrives_once_although_a_receiver_is_busy_at_first() -> None:
    with receiving() as receiver:
        receiver.statuses = [503, 429]
        post(receiver.url, {"text": "ü"}, pause=0.01)
    assert receiver.got == [{"text": "ü"}] * 3


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (500, ATTEMPTS)])
def test_a_refusal_is_an_error_without_secrets(status: int, attempts: int) -> None:
    with receiving() as receiver:
        receiver.statuses = [status] * ATTEMPTS
        with pytest.raises(
            ConnectionError, match=f"answered with status {status}"
        ) as e:
            post(f"{receiver.url}/hidden?token=hidden", {}, pause=0.01)
    assert len(receiver.got) == attempts
    assert "hidden" not in str(e.value)


def test_an_absent_receiver_is_an_error() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ConnectionError, match="cannot be reached .*; check the URL"):
        post(url, {}, pause=0.01)
