"""What is particular to the network of regressions."""

import torch
from torch.nn import functional as F

from ar_models.families.base import ancestral_sample
from ar_models.families.fvsbn import FVSBN
from ar_models.variables import Variable, binary_variables


def test_a_binary_network_is_logistic_regressions() -> None:
    model = FVSBN(binary_variables(3), FVSBN.Settings())
    with torch.no_grad():
        # The diagonal and what is above it must not matter.
        model.linear.weight.copy_(
            torch.tensor([[9.0, 9.0, 9.0], [0.5, 9.0, 9.0], [-1.0, 2.0, 9.0]])
        )
        model.linear.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    x = torch.tensor([[1.0, 0.0, 1.0]])
    logits = torch.tensor([0.1, 0.2 + 0.5, 0.3 - 1.0])
    by_hand = F.logsigmoid(logits * torch.tensor([1.0, -1.0, 1.0])).sum()
    torch.testing.assert_close(model.log_prob(x)[0], by_hand)


def test_a_real_variable_is_a_linear_regression() -> None:
    variables = [Variable("a", "real", 0), Variable("b", "real", 1)]
    model = FVSBN(variables, FVSBN.Settings(components=1))
    with torch.no_grad():
        model.linear.weight.zero_()
        model.linear.bias.zero_()
        b_location = (model.layout.variable_index == 1).nonzero()[1]
        model.linear.weight[b_location, 0] = 2.0
        model.linear.bias[b_location] = 0.5
    x = torch.tensor([[1.5, 3.0]])
    normal = torch.distributions.Normal
    spread = model.conditionals(x).parameters.new_zeros(()).exp()
    by_hand = normal(0.0, spread).log_prob(x[0, 0]) + normal(3.5, spread).log_prob(
        x[0, 1]
    )
    # The least scale of 0.005 is added to exp(0) = 1, smoothly.
    torch.testing.assert_close(model.log_prob(x)[0], by_hand, atol=0.02, rtol=0)


def test_drawing_in_blocks_is_drawing_plainly() -> None:
    torch.manual_seed(0)
    model = FVSBN(
        binary_variables(70), FVSBN.Settings(orderings=2, ordering="random")
    ).eval()
    torch.nn.init.normal_(model.linear.weight, std=0.5)
    noise, given = torch.rand(50, 70, 2), torch.full((50, 70), torch.nan)
    for which in range(2):
        drawn = model.draw(noise, given, which)
        assert drawn.equal(ancestral_sample(model, noise, given, which))


def test_learning_finds_the_regression_that_made_the_data() -> None:
    torch.manual_seed(1)
    truth, model = (
        FVSBN(binary_variables(4), FVSBN.Settings()).eval(),
        FVSBN(binary_variables(4), FVSBN.Settings()),
    )
    torch.nn.init.normal_(truth.linear.weight)
    x = truth.sample(4000, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=50)

    def nll() -> float:
        optimizer.zero_grad()
        loss = -model.log_prob(x).mean()
        loss.backward()
        return loss.item()

    before = nll()
    optimizer.step(nll)
    entropy = -truth.log_prob(x).mean().item()
    # The fit of 10 numbers to 4000 rows gains about 5 / 4000 nats on the truth.
    assert before > entropy + 0.1
    assert entropy - 0.01 < nll() < entropy
