"""Draw docs/images/schedules.png: how the rate goes in a run of 1,000 steps."""

from pathlib import Path

from npgpt.optim import SCHEDULES, make_schedule
from npgpt.plots.style import BLUE, GREEN, GREY, ORANGE, RED, draw_grid, new_figure, save

STEPS, WARMUP_STEPS, DECAY_STEPS = 1000, 100, 200


def draw(path: Path) -> None:
    """Draw a line for each schedule."""
    figure = new_figure(8, 3.2, 110)
    axes = figure.subplots()
    for name, colour in zip(SCHEDULES, (BLUE, GREY, RED, GREEN, ORANGE), strict=True):
        schedule = make_schedule(name, 1.0, 0.1, WARMUP_STEPS, STEPS, DECAY_STEPS)
        axes.plot([schedule(step) for step in range(STEPS + 1)], color=colour, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("rate, of the highest")
    axes.set_ylim(0.0, 1.05)
    draw_grid(axes)
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0.1, 0.0))
    save(figure, path)


if __name__ == "__main__":
    draw(Path(__file__).parent.parent / "images" / "schedules.png")
