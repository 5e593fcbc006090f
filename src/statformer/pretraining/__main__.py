"""`python -m statformer.pretraining RECIPE --steps N`: JSON lines, for launchers and scripts."""

from __future__ import annotations

import argparse
import sys

import torch

from statformer.pretraining import Progress, get_recipe, parse_options, pretrain


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m statformer.pretraining", description=__doc__)
    parser.add_argument("recipe", help="a recipe's name, or module:attribute")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int)
    length.add_argument("--minutes", type=float)
    folder = parser.add_mutually_exclusive_group()
    folder.add_argument("--out", metavar="DIR", help="default: training/RECIPE")
    folder.add_argument("--resume", metavar="DIR", help="continue the run in DIR")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--checkpoint-every", type=float, default=60.0, metavar="SECONDS")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0, or 2 after one line that says what is wrong."""
    given = _parser().parse_args(arguments)

    def show(progress: Progress) -> None:
        if progress.event != "step" or progress.step % recipe.log_every == 0:
            sys.stdout.write(progress.to_json() + "\n")
            sys.stdout.flush()

    try:
        recipe = get_recipe(given.recipe, **parse_options(given.option))
        pretrain(
            recipe,
            out_dir=given.resume or given.out or f"training/{recipe.name}",
            n_steps=given.steps,
            minutes=given.minutes,
            seed=given.seed,
            device=given.device,
            resume=given.resume is not None,
            callback=show,
            checkpoint_every_s=given.checkpoint_every,
        )
    except (ValueError, ImportError, FloatingPointError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
