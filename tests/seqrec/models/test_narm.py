import torch

from tests.seqrec.models.encoders import encoder
from tests.seqrec.models.test_gru4rec import naive_states


def test_step_by_step():
    model = encoder("narm")
    history = torch.tensor([4, 1, 9, 9, 2])
    states = naive_states(model.gru, model.item.weight[history])
    for t in range(5):
        local = torch.zeros(5)
        for j in range(t + 1):
            pair = model.of_query.weight @ states[t] + model.of_state.weight @ states[j]
            local = local + (model.energy.weight[0] @ torch.sigmoid(pair)) * states[j]
        expected = model.output.weight @ torch.cat([local, states[t]])
        torch.testing.assert_close(model(history[None])[0, t], expected)
