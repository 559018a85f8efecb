"""A logged model in Spark: a column of sources in, a column of predictions out."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pytest

from pipeline.tracking.flavor import OUTPUTS
from tests.support.small_project import SOURCES, save_small_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    pyspark = pytest.importorskip("pyspark", reason="needs Spark: python -m pip install '.[spark]'")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("needs Java 17: apt-get install openjdk-17-jre-headless")
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        assert pyspark.__version__
        session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        yield session
        session.stop()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("model"))


def test_a_logged_model_predicts_in_spark_as_it_does_in_python(spark: Any, model: Path) -> None:
    predict = mlflow.pyfunc.spark_udf(spark, str(model), env_manager="local")
    table = spark.createDataFrame([(source,) for source in SOURCES], "word string").repartition(2)
    found = table.select("word", predict("word").alias("it")).select("word", "it.*").collect()
    expected = mlflow.pyfunc.load_model(str(model)).predict(SOURCES)
    assert list(found[0].asDict()) == ["word", *OUTPUTS]
    assert sorted(row["word"] for row in found) == sorted(SOURCES)
    assert {row["word"]: row["prediction"] for row in found} == dict(
        zip(expected["source"], expected["prediction"], strict=True)
    )
    for row in found:
        (again,) = set(expected[expected["source"] == row["word"]]["confidence"])
        assert row["source"] == row["word"]
        assert row["confidence"] == pytest.approx(again, abs=1e-5)


def test_parameters_of_a_request_are_those_of_the_function(spark: Any, model: Path) -> None:
    predict = mlflow.pyfunc.spark_udf(spark, str(model), env_manager="local", params={"order": "greedy"})
    table = spark.createDataFrame([("F AO",)], "word string")
    (found,) = table.select(predict("word").alias("it")).collect()
    expected = mlflow.pyfunc.load_model(str(model)).predict(["F AO"], params={"order": "greedy"})
    assert found["it"]["prediction"] == expected["prediction"][0]
    assert found["it"]["log_probability"] == pytest.approx(expected["log_probability"][0], abs=1e-5)


def test_a_source_that_cannot_be_used_fails_the_job_with_its_reason(spark: Any, model: Path) -> None:
    from pyspark.errors import PythonException

    predict = mlflow.pyfunc.spark_udf(spark, str(model), env_manager="local")
    table = spark.createDataFrame([("F AO",), (" ",)], "word string").coalesce(1)
    with pytest.raises(PythonException, match="source 2 is empty"):
        table.select(predict("word")).collect()
