from collections import Counter

import torch

from ar_models.layers.variable_tokens import random_orderings
from tests.support.models import MIXED


def test_random_orders_keep_chains_in_order_and_are_all_as_likely() -> None:
    # Counts of 12 outcomes in 12000: 5 standard deviations are 152.
    torch.manual_seed(0)

    orders = Counter(
        map(tuple, random_orderings(MIXED[:4], torch.rand(12000, 4)).tolist())
    )

    assert len(orders) == 12
    assert all(order.index(2) > order.index(1) for order in orders)
    assert all(abs(count - 1000) < 155 for count in orders.values())
