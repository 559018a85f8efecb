"""A served model under load: right answers, reasons for what has none, bounded memory, slow and rude clients."""

import asyncio
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from itertools import islice, product
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.serving import HOST, Mix, Request, invalid_requests, load, report, server
from pipeline.errors import UserError
from pipeline.listener import listener_at
from pipeline.prediction.requests import MOST_HYPOTHESES, Prediction, Service
from pipeline.serving.application import LARGEST_BODY, read_csv, read_json
from pipeline.tracking.models import load_model
from tests.conftest import PATIENCE
from tests.support.servers import free_port
from tests.support.small_project import MAX_SYMBOLS, save_small_model

SOURCES = [" ".join(symbols) for length in (1, 2, 3) for symbols in product(("F", "AO", "K", "R"), repeat=length)]
CLIENTS, SECONDS = 16, 3
MEBIBYTE = 2**20
BEGUN = (  # a request whose body does not come
    b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model."""
    return save_small_model(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def service(folder: Path) -> Service:
    return load_model(str(folder))


@pytest.fixture(scope="module")
def mix(service: Service) -> Mix:
    return Mix(service, SOURCES)


def test_an_answer_counts_as_right_only_if_it_is_that_of_the_model() -> None:
    row = Prediction("F AO", 1, "for", -0.5, 0.75, "")
    request, right = Request("one string", b"", rows=[row]), row._asdict()

    def accepted(status: int, *rows: dict[str, Any]) -> bool:
        return request.is_answered_by(status, json.dumps({"predictions": rows}).encode())

    assert accepted(200, right)
    assert accepted(200, {**right, "log_probability": -0.5001})  # other rounding
    assert not accepted(400, right)
    assert not accepted(200)
    assert not accepted(200, right, right)
    for name, value in (("prediction", "fo"), ("rank", 2), ("log_probability", -0.6), ("confidence", 0.7), ("more", 1)):
        assert not accepted(200, {**right, name: value})
    assert not request.is_answered_by(200, b"Internal Server Error")


def test_a_refusal_counts_as_right_only_with_its_status_and_a_reason() -> None:
    request = Request("nothing", b"", status=400)
    assert request.is_answered_by(400, b'{"message": "why"}')
    assert not request.is_answered_by(500, b'{"message": "why"}')
    assert not request.is_answered_by(400, b'{"message": ""}')
    assert not request.is_answered_by(400, b"[]")


@pytest.mark.slow
def test_clients_begin_with_everything_that_is_invalid_and_ask_the_same_every_time(mix: Mix) -> None:
    def first() -> list[list[Request]]:
        return [list(islice(requests, 40)) for requests in mix.of_clients(4)]

    assert first() == first()
    invalid = [request.kind for request in invalid_requests("F", MAX_SYMBOLS)]
    assert {request.kind for requests in first() for request in requests[:10]} >= set(invalid)
    assert {request.status for request in first()[0][10:]} >= {200, 400}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"inputs": ["a"], "parms": {}}', "there is no 'parms' in a request"),
        (b'{"inputs": ["a"], "params": [1]}', "params: input should be an object"),
        (b"{}", "there are no sources, give one of inputs, instances, dataframe_split, dataframe_records"),
        (b"[" * 100_000, "recursion limit exceeded"),
        (b'{"inputs": [%s]}' % (b"9" * 10_000), "number out of range"),
        (b"", "EOF while parsing"),
    ],
)
def test_a_body_that_is_no_request_is_refused_what_one_is(body: bytes, reason: str) -> None:
    with pytest.raises(UserError, match=r'a request is \{"inputs"') as raised:
        read_json(body)
    assert reason in str(raised.value)


def test_csv_is_strings_as_they_stand(tmp_path: Path) -> None:
    assert read_csv(b'source\r\nNA\r\n"a ""b"" , c"\r\n1\r\n').inputs == ["NA", 'a "b" , c', "1"]
    assert read_csv("\ufeffsource\nä\n\n".encode()).inputs == ["ä", ""]
    for body, reason in ((b"source\na,b\n", "row 2 has 2 columns"), (b"source\n\xff\n", "not CSV in UTF-8")):
        with pytest.raises(UserError, match=reason):
            read_csv(body)


def test_what_a_request_costs_is_strings_times_the_width_of_their_search(service: Service) -> None:
    for params, hypotheses in (({}, 20), ({"n_best": 7}, 70), ({"order": "greedy"}, 10), ({"beam_width": 5}, 50)):
        assert service.parse(["F"] * 10, params).hypotheses == hypotheses
    with pytest.raises(UserError, match="there is no parameter 'n_bset', only n_best, beam_width, order"):
        service.parse(["F"], {"n_bset": 3})
    with pytest.raises(UserError, match="n_best is True, but must be a whole number from 1 to 100"):
        service.parse(["F"], {"n_best": True})
    assert service.parse(["F"] * MOST_HYPOTHESES, {"order": "greedy"}).hypotheses == MOST_HYPOTHESES


def test_a_small_answer_is_sent_at_once() -> None:
    """Not when the client has acknowledged its head, which takes 40 ms."""

    async def delays() -> bool:
        answered: asyncio.Queue[bool] = asyncio.Queue()

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected: socket.socket = writer.get_extra_info("socket")
            await answered.put(not connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        port = free_port()
        async with await asyncio.start_server(answer, sock=listener_at(port)):
            _, writer = await asyncio.open_connection(HOST, port)
            writer.close()
            return await answered.get()

    assert not asyncio.run(delays())


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    with server(str(folder)) as found:
        yield found


def ask(port: int, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    with closing(HTTPConnection(HOST, port, timeout=PATIENCE)) as connection:
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.slow
def test_under_load_no_answer_is_wrong_and_memory_is_bounded(served: tuple[int, psutil.Process], mix: Mix) -> None:
    port, process = served
    found = load(port, process, mix, CLIENTS, SECONDS)
    assert found["wrong"] == []
    assert set(found["kinds"]) > {request.kind for request in invalid_requests("F", MAX_SYMBOLS)}
    assert found["kinds"]["100,000 strings, greedy"]["requests"] == 1
    assert found["valid"]["requests"] >= 2 * CLIENTS
    memory = found["memory_bytes"]
    assert memory["start"] < memory["peak"] < memory["start"] + 600 * MEBIBYTE
    assert "| all valid " in report(found)


@pytest.mark.slow
def test_a_server_listens_on_this_machine_only(served: tuple[int, psutil.Process]) -> None:
    port, process = served
    listening = [found for found in process.net_connections("inet") if found.status == psutil.CONN_LISTEN]
    assert [(found.laddr.ip, found.laddr.port) for found in listening] == [("127.0.0.1", port)]


@pytest.mark.slow
def test_clients_that_break_off_or_say_nothing_keep_nobody_from_an_answer(served: tuple[int, psutil.Process]) -> None:
    port, process = served
    silent = [socket.create_connection((HOST, port)) for _ in range(100)]
    for client in silent[:60]:
        client.sendall(BEGUN)
    assert ask(port, b'{"inputs": ["F AO"]}')[0] == 200
    for client in silent:
        client.close()
    assert ask(port, b'{"inputs": ["F AO"]}')[0] == 200
    assert process.is_running()


@pytest.mark.slow
def test_requests_beyond_those_in_hand_are_asked_to_come_again(served: tuple[int, psutil.Process]) -> None:
    port, _ = served
    waiting = [socket.create_connection((HOST, port)) for _ in range(64)]
    for client in waiting:
        client.sendall(BEGUN)
    with ThreadPoolExecutor(1) as pool:
        status, found = pool.submit(ask, port, b'{"inputs": ["F AO"]}').result()
    assert (status, found["message"]) == (503, "64 requests are being answered: try again in a second")
    for client in waiting:
        client.close()
    assert ask(port, b'{"inputs": ["F AO"]}')[0] == 200


@pytest.mark.slow
def test_reasons_are_short_whatever_was_sent(served: tuple[int, psutil.Process]) -> None:
    port, _ = served
    for inputs, params in ((["a" + "\t" * 1_000_000 + "a"], {}), (["F"], {"order": "b" * 1_000_000})):
        status, found = ask(port, json.dumps({"inputs": inputs, "params": params}).encode())
        assert status == 400
        assert 0 < len(found["message"]) <= 500
    status, found = ask(port, b"{}", **{"Content-Encoding": "gzip"})
    assert (status, found["message"]) == (415, "the body is compressed: send it uncompressed")
    status, found = ask(port, b" " * (LARGEST_BODY + 1))
    assert (status, found["error_code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")
