import torch

from tests.seqrec.models.encoders import encoder, left_padded

RECENT = 3


def naive(model, window: list[int]) -> torch.Tensor:
    """The vector after the items of one window, filter by filter."""
    image = model.item.weight[window]  # [L, d]
    horizontal = []
    for height, conv in enumerate(model.horizontal, 1):
        for weight, bias in zip(conv.weight, conv.bias, strict=True):  # weight [d, height]
            answers = [
                torch.relu((image[top : top + height] * weight.T).sum() + bias)
                for top in range(RECENT - height + 1)
            ]
            horizontal.append(max(answers))
    vertical = [
        sum(model.vertical.weight[k, row] * image[row, column] for row in range(RECENT))
        + model.vertical.bias[k]
        for k in range(2)
        for column in range(image.shape[1])
    ]
    read = model.dense(torch.stack(horizontal + vertical))
    return torch.cat([torch.relu(read), torch.ones(1)])


def test_window_by_window():
    model, history = encoder("caser"), [4, 1, 9, 9, 2]
    found = model(torch.tensor([history]))[0]
    padded = [0] * (RECENT - 1) + history
    for place in range(5):
        torch.testing.assert_close(found[place], naive(model, padded[place : place + RECENT]))


def test_only_the_last_items_matter():
    model = encoder("caser")
    a, b = model.last(left_padded([[9, 8, 1, 2, 3], [4, 1, 2, 3]]))
    torch.testing.assert_close(a, b)


def test_the_last_component_scores_the_bias():
    model = encoder("caser")
    hidden, matrix = model.last(left_padded([[4, 1, 9]])), model.item_matrix()
    expected = hidden[:, :-1] @ matrix[:, :-1].T + matrix[:, -1]
    torch.testing.assert_close(hidden @ matrix.T, expected)
