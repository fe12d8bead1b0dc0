"""The numbers that decide claims, with their controls and the differences from them."""

from __future__ import annotations

from okml.ledger import Measurements
from okml.plotting import Picture, estimates, with_control

CHEAP = "strongest cheap explanation"


def guess_and_training(depth: Measurements) -> Picture:
    """Draw what the probe gains over a guess of the year, and over random weights."""
    panels = {
        "years saved over guessing the median year": {"time_error_saved": "dated names"},
        "gain of test R² over untrained weights": {"place_gain_over_untrained": "places"},
    }
    return estimates(panels, depth)


def spelling(controls: Measurements) -> Picture:
    """Draw the probe beside what the letters of a name tell."""
    panels = {
        "gain of test R² over character n-grams": {
            "place_gain_over_ngram": "places",
            "time_gain_over_ngram": "dated names",
        },
        "test R² where the name does not spell its region": with_control(
            "place_bare_r2", "place_cheap_bare_r2", "probe", CHEAP
        ),
        "test R² of what needs no map": {
            "place_token_task_r2": "probe of a random place for each last token",
            "usa_zip_ngram_r2": "character n-grams of ZIP codes",
        },
    }
    return estimates(panels, controls)


def carrying(measured: Measurements) -> Picture:
    """Draw what late blocks add where a region is spelled, with tokens hidden from the last one."""
    panels = {
        "R² of the late layer less that of the middle one": {
            "late_rise": "nothing hidden",
            "late_rise_without_region": "spelled region hidden",
            "late_rise_without_rest": "rest of the name hidden",
            "late_rise_without_question": "question hidden",
        }
    }
    return estimates(panels, measured)


def steering(measured: Measurements) -> Picture:
    """Draw the strongest pushes along longitude beside the strongest random direction."""
    random = "steering_shift_random"
    panels = {
        "shift of the log-odds, nats": {
            "steering_shift": "direction of the probe",
            "steering_shift_covariance": "covariance with longitude",
            random: "strongest random direction",
            f"steering_shift-{random}": "difference, probe",
            f"steering_shift_covariance-{random}": "difference, covariance",
        }
    }
    return estimates(panels, measured)


def regions(controls: Measurements) -> Picture:
    """Draw what knowing the region gains over the probe, and the order inside regions."""
    panels = {
        "test R² of the region oracle less the probe's": {"place_oracle_excess": "places"},
        "Spearman ρ inside a region": with_control(
            "place_within_region_rho", "place_cheap_within_region_rho", "probe", CHEAP
        ),
    }
    return estimates(panels, controls)


def other_probes(*measured: Measurements) -> Picture:
    """Draw the gains of a hidden layer in the probe, and of dividing rows by their RMS."""
    panels = {
        "difference of test R²": {
            "mlp_gain": "MLP less linear probe",
            "rms_gain_at_massive": "rows over RMS less raw rows, largest activations",
            "rms_gain_at_best": "rows over RMS less raw rows, chosen layer",
        }
    }
    return estimates(panels, *measured)


def held_out(holdouts: Measurements) -> Picture:
    """Draw the errors on regions and on kinds of places that the probe never saw."""
    error = {"block": "regions", "type": "kinds of places"}
    panels = {
        f"proximity error on unseen {what}": with_control(
            f"{of}_heldout_proximity", f"{of}_heldout_proximity_cheap", "probe", CHEAP
        )
        for of, what in error.items()
    }
    panels["cosine of the displacement of an unseen region"] = with_control(
        "block_cosine", "block_cosine_cheap", "probe", CHEAP
    )
    return estimates(panels, holdouts)


def best_neurons(neurons: Measurements) -> Picture:
    """Draw the best neuron of each kind of names beside the best random direction."""
    sets = {"": "places", "time_": "works", "people_": "people", "events_": "events"}
    panels = {
        f"Spearman ρ on test names, {of}": with_control(
            f"{prefix}neuron_rho",
            f"{prefix}neuron_rho_random",
            "best neuron",
            "best random direction",
        )
        for prefix, of in sets.items()
    }
    return estimates(panels, neurons)


def ablation(measured: Measurements) -> Picture:
    """Draw the rise of the loss without a space neuron, beside other neurons and other texts."""
    ordinary = "neuron that fires as strongly"
    panels = {
        "Spearman ρ on test names": {"ablated_neuron_rho": "activation of space neurons"},
        "rise of the loss on places, nats a token": with_control(
            "ablation_rise", "ablation_rise_matched", "space neuron", ordinary
        ),
        "rise on places less that on things, nats a token": with_control(
            "ablation_rise_gap", "ablation_rise_gap_matched", "space neuron", ordinary
        ),
    }
    return estimates(panels, measured)


def pinning(sweep: Measurements) -> Picture:
    """Draw the shift of the year's next digit between the ends of the range of a pinned neuron."""
    rows = with_control(
        "sweep_shift", "sweep_shift_matched", "best time neuron", "neuron that fires as strongly"
    )
    followed = {"swept_neuron_rho": "activation of the time neuron"}
    panels = {"Spearman ρ on test names": followed, "shift of the expected next digit": rows}
    return estimates(panels, sweep)
