"""`statformer robust train|evaluate`: fast adversarial training, and how robust a network is."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

import typer

from statformer import __version__
from statformer._extras import require
from statformer.cli.errors import CommandError, listing, one_line
from statformer.cli.options import Json, names_in
from statformer.cli.robust_display import (
    EpochLines,
    heard,
    print_robustness,
    print_table,
    records,
    remark,
    say,
)
from statformer.cli.robust_options import (
    Data,
    Device,
    Eps,
    check_device,
    first_images,
    images_of,
    is_json,
    or_none,
)

WEIGHTS, CARD = "final.safetensors", "card.json"
# Peak rate, batch size and strength: those of SKG-FAT's code, with which the small network stays
# at chance for some hundred steps and more; and ours for it (see docs/robust.md).
USUAL = {"resnet18": (0.1, 128, 1.0), "small-cnn": (0.02, 50, 0.2)}
LITTLE = 0.2  # of the way from chance to 1, below which a remark is made (ours)
PER_IMAGE = ("labels", "stages")  # of a record; too long for a terminal

robust = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Fast adversarial training, and robustness tables (extra: robust).",
)


@robust.callback()
def _robust() -> None:
    """Fast adversarial training, and robustness tables."""


@robust.command()
def train(
    data: Data,
    eps: Eps,
    model: Annotated[
        str, typer.Option(metavar="resnet18|small-cnn", help="The network.")
    ] = "small-cnn",
    epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the images.")] = 30,
    step: Annotated[
        float | None,
        typer.Option(metavar="N", help="Step of the attack, in 1/255. Default: that of --start."),
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="carried, carried-per-image, zero (FGSM), uniform (RS), noise (N)."
        ),
    ] = "carried",
    regulariser: Annotated[str, typer.Option(metavar="cwr|agr|uniform|none")] = "cwr",
    relaxation: Annotated[str, typer.Option(metavar="sklr|sls|none")] = "sklr",
    n_steps: Annotated[int, typer.Option(metavar="N", help="More than 1: PGD training.")] = 1,
    learning_rate: Annotated[
        float | None,
        typer.Option(metavar="X", help="At its peak. Default: 0.1, and 0.02 for small-cnn."),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(metavar="X", help="Of --regulariser. Default: 1, and 0.2 for small-cnn."),
    ] = None,
    averaging: Annotated[
        float | None, typer.Option(metavar="X", help="Decay of averaged weights, as 0.9995.")
    ] = None,
    alarm: Annotated[
        str, typer.Option(metavar="stop|rollback|warn|none", help="At catastrophic overfitting.")
    ] = "stop",
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Default: 128, and 50 for small-cnn.")
    ] = None,
    first: Annotated[
        int | None, typer.Option(metavar="N", help="Only the first N training images.")
    ] = None,
    augment: Annotated[
        bool,
        typer.Option("--augment/--no-augment", help="Crop and flip colour images at random."),
    ] = True,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    device: Device = "cpu",
    precision: Annotated[str, typer.Option(metavar="float32|bfloat16")] = "float32",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Default: training/robust-MODEL.", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; same options.")
    ] = False,
    as_json: Json = None,
) -> None:
    """Train a network that a small change of each pixel does not fool; test images stay unseen.

    A tenth of the training images, at most 1,000, is held out and decides which epoch is kept.
    Writes DIR/final.safetensors and DIR/card.json. Colour images are cropped and flipped at random;
    --no-augment for pictures that must not be mirrored.
    """
    require("torch", "robust")
    import torch

    from statformer.pretraining.checkpoint import latest_step, write_atomically
    from statformer.robust import FastAdversarialTrainer, ImageBatches
    from statformer.robust.model_file import MODELS, ImageModel, save_model

    if model not in MODELS:
        raise CommandError(f"--model is {model!r}; pass one of {listing(MODELS)}")
    check_device(device)
    images = images_of(data)
    folder = out or Path("training") / f"robust-{model}"
    n = first_images(first, len(images.train_labels))
    usual_rate, usual_size, usual_strength = USUAL[model]
    batch_size = usual_size if batch_size is None else batch_size
    crops = augment and images.train_images.ndim == 4
    began = time.perf_counter()
    try:
        if not resume and latest_step(folder / "checkpoints") is not None:
            raise CommandError(f"--out {folder} holds a run; --resume goes on with it")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(
                f"--out {folder} cannot be made ({error.strerror}); name another folder"
            ) from error
        about = ImageModel.for_images(model, images.train_images[:n], images.n_classes)
        rng = torch.Generator().manual_seed(seed)
        batches = ImageBatches(
            images.train_images[:n],
            images.train_labels[:n],
            batch_size=batch_size,
            augment="crop-flip" if crops else None,
            device=device,
            generator=rng,
        )
        with heard() as remarks:
            trainer = FastAdversarialTrainer(
                about.build(rng).to(device),
                eps_255=eps,
                step_255=step,
                start=start,
                n_steps=n_steps,
                regulariser=or_none(regulariser),
                relaxation=or_none(relaxation),
                strength=usual_strength if strength is None else strength,
                learning_rate=usual_rate if learning_rate is None else learning_rate,
                averaging=averaging,
                alarm=or_none(alarm),
                precision=precision,  # type: ignore[arg-type]
                channels_last=device.startswith("cuda"),
                generator=rng,
                checkpoints=folder / "checkpoints",
                callback=EpochLines(epochs),
            ).fit(batches, epochs=epochs, resume=resume)
        best = trainer.history_.iloc[trainer.best_epoch_]
        chance, at_chance = 1 / about.n_classes, []
        if best["clean"] < chance + LITTLE * (1 - chance):
            at_chance.append(
                f"the network is hardly better than chance ({best['clean']:.3f} on images as they "
                f"are): --eps {eps:g} may be too much for it; more --epochs, a smaller --eps, "
                "a smaller --strength or another --learning-rate may help"
            )
        save_model(folder / WEIGHTS, about, trainer.model.state_dict())
        card = {
            "model": vars(about),
            "settings": trainer.settings.as_dict(),
            "epochs": epochs,
            "batch_size": batch_size,
            "augment": "crop-flip" if crops else None,
            "seed": seed,
            "n_images": n,
            "data": data,
            "note": images.note,
            "best_epoch": trainer.best_epoch_,
            "alarm": trainer.alarm_,
            "remarks": [*remarks, *at_chance],
            "seconds": round(time.perf_counter() - began, 1),
            "versions": {"statformer": __version__, "torch": torch.__version__},
            "history": records(trainer.history_),
            "classes": records(trainer.classes_),
        }
        text = json.dumps(card, indent=1, allow_nan=False) + "\n"
        write_atomically(folder / CARD, text.encode())
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command with --resume goes on where it ended\n")
        raise typer.Exit(130) from None
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        raise CommandError(one_line(error)) from error
    if is_json(as_json):
        sys.stdout.write(json.dumps({**card, "weights": str(folder / WEIGHTS)}) + "\n")
        return
    shown = ("clean", "robust", "robust_worst", "robust_std", "single_step")
    print_table(
        ["held-out images, best epoch", *shown],
        [[str(trainer.best_epoch_ + 1), *(f"{best[name]:.3f}" for name in shown)]],
    )
    remark([*at_chance, *([images.note] if images.note else [])])
    typer.echo(f"weights: {folder / WEIGHTS}\ncard:    {folder / CARD}")


@robust.command()
def evaluate(
    data: Data,
    weights: Annotated[
        Path, typer.Option(metavar="DIR|FILE", help="What `statformer robust train` wrote.")
    ],
    eps: Eps,
    model: Annotated[
        str | None,
        typer.Option(metavar="resnet18|small-cnn", help="Refuse weights of another network."),
    ] = None,
    attacks: Annotated[
        str, typer.Option(metavar="A,B", help="Of fgsm, pgdN, cw, apgd, autoattack.")
    ] = "fgsm,pgd10,pgd50,cw,autoattack",
    step: Annotated[
        float | None, typer.Option(metavar="N", help="Of pgdN and cw, in 1/255. Default: eps/4.")
    ] = None,
    first: Annotated[
        int | None, typer.Option(metavar="N", help="Only the first N test images.")
    ] = None,
    batch_size: Annotated[int, typer.Option(metavar="N")] = 250,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the attacks.")] = 0,
    device: Device = "cpu",
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Written after each attack, with the class of every image; "
            "attacks in it are not run again.",
        ),
    ] = None,
    as_json: Json = None,
) -> None:
    """Attack the test images and tell which are still classified correctly, class by class."""
    require("torch", "robust")
    from statformer.robust.batches import ImageBatches
    from statformer.robust.evaluation import evaluate_robustness
    from statformer.robust.model_file import load_model

    check_device(device)
    asked = names_in(attacks, "--attacks")
    images = images_of(data)
    n = first_images(first, len(images.test_labels))
    try:
        about, network = load_model(weights / WEIGHTS if weights.is_dir() else weights)
        if model not in (None, about.name):
            raise CommandError(f"--model is {model!r} and {weights} holds a {about.name}")
        colours = images.test_images.shape[3] if images.test_images.ndim == 4 else 1
        if (images.test_images.shape[1:3], colours) != (about.size, len(about.mean)):
            raise CommandError(
                f"--data {data} has images of shape {images.test_images.shape[1:]} and {weights} "
                f"was trained on {about.size} with {len(about.mean)} colours"
            )
        loader = ImageBatches(
            images.test_images[:n],
            images.test_labels[:n],
            batch_size=batch_size,
            shuffle=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what is said is in the table
            table = evaluate_robustness(
                network.to(device),
                loader,
                eps_255=eps,
                step_255=step,
                attacks=asked,
                seed=seed,
                record=record,
                callback=lambda name, accuracy: say(f"{name}: {accuracy:.4f}"),
            )
    except KeyboardInterrupt:
        sys.stderr.write("stopped; with --record the same command goes on where it ended\n")
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:
        raise CommandError(one_line(error)) from error
    if is_json(as_json):
        found = {key: value for key, value in table.to_json().items() if key not in PER_IMAGE}
        sys.stdout.write(json.dumps({"data": data, "note": images.note, **found}) + "\n")
        return
    print_robustness(table)
    remark([*table.warnings, *([images.note] if images.note else [])])
