"""The paper's network for Bayesian networks: what it may depend on, and what it must not."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from statformer.nn.bayes_net_transformer import BayesNetTransformer


def build(n_variables: int = 4, n_categories: int = 3, **options: int) -> BayesNetTransformer:
    given = {"n_layers": 2, "width": 16, "n_heads": 2, **options}
    network = BayesNetTransformer(
        n_variables, n_categories, rng=Generator().manual_seed(0), **given
    )
    return network.double()


def rows(n: int = 40, v: int = 4, d: int = 3, b: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = Generator().manual_seed(1)
    drawn = torch.randint(0, d, (b, n + 1, v), generator=rng)
    return drawn[:, :-1], drawn[:, -1]


@pytest.mark.parametrize("target", [0, 1, 3])
def test_equal_rows_are_one_token_and_the_answer_is_that_of_all_rows(target: int) -> None:
    network = build()
    context, query = rows()
    kinds, times = network.tokens_of(context, target)
    assert kinds.shape[1] < context.shape[1] or target == 3
    assert (times.sum(1) == context.shape[1]).all()
    shown = torch.where(torch.arange(4) > target, 0, context)
    every = network.answer(network.embed(shown, query, target), torch.ones(5, 40).double())
    torch.testing.assert_close(network(context, query, target), every)
    # Red where counts are lost: each kind once is another context.
    once = network.answer(network.embed(kinds, query, target), (times > 0).double())
    assert not torch.allclose(once, every, atol=1e-4)


def test_the_order_of_the_rows_does_not_matter() -> None:
    network = build()
    context, query = rows()
    mixed = context[:, torch.randperm(40, generator=Generator().manual_seed(2))]
    torch.testing.assert_close(network(context, query, 2), network(mixed, query, 2))


def test_the_target_and_later_variables_of_the_query_are_hidden() -> None:
    network = build()
    context, query = rows()
    other_query, other_context = query.clone(), context.clone()
    other_query[:, 2:] = (query[:, 2:] + 1) % 3
    other_context[:, :, 3:] = (context[:, :, 3:] + 1) % 3
    same = network(context, query, 2)
    torch.testing.assert_close(network(other_context, other_query, 2), same)
    other_query[:, 1] = (query[:, 1] + 1) % 3
    assert not torch.allclose(network(context, other_query, 2), same, atol=1e-4)
    other_context[:, :, 2] = (context[:, :, 2] + 1) % 3
    assert not torch.allclose(network(other_context, query, 2), same, atol=1e-4)


def test_answers_are_laws_with_finite_gradients() -> None:
    network = build()
    context, query = rows()
    p = network(context, query, 1)
    assert p.shape == (5, 3)
    torch.testing.assert_close(p.sum(-1), torch.ones(5).double())
    p[:, 0].square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_patterns_can_be_seen() -> None:
    network = build()
    context, query = rows()
    kinds, times = network.tokens_of(context, 2)
    found: dict[str, torch.Tensor] = {}
    network.answer(network.embed(kinds, query, 2), times, found)
    t = kinds.shape[1] + 1
    assert found["block 1.pattern"].shape == (5, 2, t, t)
    assert found["block 2.pattern"].shape == (5, 2, 1, t)  # the query's token alone
    assert found["block 2"].shape == (5, 1, 16)
    torch.testing.assert_close(found["block 1.pattern"].sum(-1), torch.ones(5, 2, t).double())


def test_errors_name_the_remedy() -> None:
    with pytest.raises(ValueError, match="width=16"):
        build(n_heads=3)
    context, query = rows()
    for target in (-1, 4):
        with pytest.raises(ValueError, match=f"target={target}"):
            build()(context, query, target)
    with pytest.raises(ValueError, match="context has 4 variables"):
        build(n_variables=5)(context, query, 0)
