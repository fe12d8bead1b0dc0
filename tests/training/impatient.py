"""``tests.training.tasks`` that does not wait for another training in its folder."""

from okml.training import loop
from tests.training.tasks import main

if __name__ == "__main__":
    loop.ENDING_S = 0.1
    main()
