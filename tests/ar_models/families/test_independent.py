import torch

from ar_models.families.independent import Independent
from ar_models.variables import Variable


def test_probabilities_are_products_of_the_frequencies() -> None:
    variables = (
        Variable("a", "categorical", 0, size=3, frequencies=(0.5, 0.3, 0.2)),
        Variable("b", "binary", 1, size=2, frequencies=(0.9, 0.1)),
    )
    model = Independent(variables, Independent.Settings())

    probability = model.log_prob(torch.tensor([[0.0, 0.0], [2.0, 1.0]])).exp()

    torch.testing.assert_close(probability.detach(), torch.tensor([0.45, 0.02]))
