"""A Spark that starts fast: tests of a hundred rows spend their time on compiling plans."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from okml.lightsage.graph.settings import Engine

FAST = """\
spark.sql.codegen.wholeStage false
spark.sql.codegen.factoryMode NO_CODEGEN
spark.sql.adaptive.enabled false
spark.driver.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
"""


@pytest.fixture(scope="session")
def small_spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let okml start Spark with these defaults, and end it after the tests."""
    folder = tmp_path_factory.mktemp("spark")
    (folder / "spark-defaults.conf").write_text(FAST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(folder))
        yield
        from pyspark.sql import SparkSession

        if (session := SparkSession.getActiveSession()) is not None:
            session.stop()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Engine:
    """Return the engine that a test names, with a fast Spark where it is Spark."""
    if request.param == "spark":
        request.getfixturevalue("small_spark")
    return request.param
