import torch

from tests.seqrec.models.encoders import encoder


def naive_states(gru, inputs):
    """The gates written out, one step at a time (Cho et al. 2014)."""
    w_in, w_state = gru.weight_ih_l0, gru.weight_hh_l0
    h, states = torch.zeros(gru.hidden_size), []
    for x in inputs:
        reset_in, update_in, new_in = (w_in @ x).chunk(3)
        reset_state, update_state, new_state = (w_state @ h).chunk(3)
        reset = torch.sigmoid(reset_in + reset_state)
        update = torch.sigmoid(update_in + update_state)
        new = torch.tanh(new_in + reset * new_state)
        h = (1 - update) * new + update * h
        states.append(h)
    return torch.stack(states)


def test_step_by_step():
    model = encoder("gru4rec")
    history = torch.tensor([4, 1, 9, 9, 2])
    states = naive_states(model.gru, model.item.weight[history])
    expected = states @ model.output.weight.T + model.output.bias
    torch.testing.assert_close(model(history[None])[0], expected)
