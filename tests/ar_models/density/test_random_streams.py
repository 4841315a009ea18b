from ar_models.density.random_streams import stream_seed


def test_no_two_streams_of_a_seed_are_the_same() -> None:
    seeds = {stream_seed(0, stream) for stream in range(200_000)}
    assert len(seeds) == 200_000
    assert 0 <= min(seeds) and max(seeds) < 2**32
