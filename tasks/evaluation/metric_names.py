"""Names of metrics that MLflow accepts."""


def metric_name(*parts: str) -> str:
    """Join parts, such as columns and values, into the name of an MLflow metric.

    Characters that MLflow or a file system refuses become underscores, and so does a
    slash within a part.

    Example:
        >>> metric_name("gate", "segment", "a=b/c")
        'gate/segment/a_b_c'
    """
    return "/".join(map(_clean, parts))


def _clean(part: str) -> str:
    kept = "".join(c if c.isalnum() or c in "_-. " else "_" for c in part)
    return kept if kept.strip(".") else f"_{kept}"
