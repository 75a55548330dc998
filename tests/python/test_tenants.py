"""Tenants against the built binary: identities and keys, lanes, rates, and that the server's account of its promise is
the load client's."""
import json
import urllib.error
import urllib.request

import pytest

from bare_wire import ACCEPTED, CANCEL, ERROR, FINISHED, Wire, new_id
from conftest import required_file, run_troupe, running_server

CONFIG = """
api_key: [plain]
price_per_hour: 2.5
tenants:
  - name: gold
    api_keys: [gold-key]
    zmq_identities: ["gold-*"]
    lanes: [vip, realtime]
  - name: slow
    api_keys: [slow-key]
    zmq_identities: ["slow-*"]
    lanes: [realtime, async]
    tokens_per_second: 0.001
    burst_tokens: 1
  - name: demoted
    zmq_identities: ["demoted-*"]
    lanes: [vip]
    tokens_per_second: 0.001
    burst_tokens: 1
    over_rate: demote
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    config = tmp_path_factory.mktemp("tenants") / "server.yaml"
    config.write_text(CONFIG)
    with running_server("--config", str(config)) as running:
        yield running


def client_of(server, tenant: str) -> Wire:
    return Wire(server.zmq, routing_id=f"{tenant}-{new_id()}".encode())


def ask_http(server, key: str, **options) -> tuple[int, dict]:
    body = {"prompt": "Hi", "max_tokens": 2, **options.pop("body", {})}
    request = urllib.request.Request(server.http + "/v1/completions", json.dumps(body).encode(),
                                     {"Authorization": f"Bearer {key}", "Content-Type": "application/json",
                                      **options})
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def test_an_identity_opens_its_tenants_lanes(server):
    with client_of(server, "gold") as wire:
        assert wire.generate(lane="vip", prompt="Hi", max_tokens=2).finished["completion_tokens"] == 2
        assert wire.generate(lane="async", prompt="Hi", max_tokens=2).code == "permission_denied"
    with client_of(server, "stranger") as wire:
        assert wire.generate(lane="vip", prompt="Hi", max_tokens=2).code == "permission_denied"
        assert wire.generate(lane="async", prompt="Hi", max_tokens=2).finished["completion_tokens"] == 2


def test_ids_belong_to_their_tenant(server):
    request_id = new_id()
    with client_of(server, "gold") as wire, client_of(server, "stranger") as other:
        wire.submit(request_id, lane="vip", prompt="Hi", max_tokens=500, ignore_eos=True)
        wire.receive_of(ACCEPTED)
        other.send(CANCEL, request_id)
        assert other.receive_of(ERROR).payload["code"] == "not_found"
        with client_of(server, "gold") as same_tenant:
            same_tenant.send(CANCEL, request_id)
            same_tenant.stats()  # answered: the cancel has left too
        assert wire.receive_of(ERROR).payload["code"] == "aborted"


def test_above_its_rate_a_tenant_is_refused_or_demoted(server):
    with client_of(server, "slow") as wire:
        assert wire.generate(prompt="Hi", max_tokens=2).finished["completion_tokens"] == 2
        assert wire.generate(prompt="Hi", max_tokens=2).code == "rate_limited"
    with client_of(server, "demoted") as wire:
        lanes = []
        for _ in range(2):
            wire.submit(new_id(), lane="vip", prompt="Hi", max_tokens=2)
            lanes.append(wire.receive_of(ACCEPTED).lane)
            wire.receive_of(FINISHED)
        assert lanes == ["vip", "async"]


def test_http_statuses(server):
    assert ask_http(server, "nobody's")[0] == 401
    assert ask_http(server, "gold-key", **{"X-Troupe-Lane": "vip"})[0] == 200
    assert ask_http(server, "gold-key", body={"lane": "vip"})[0] == 200
    for status, reply in (ask_http(server, "plain", **{"X-Troupe-Lane": "vip"}),
                          ask_http(server, "plain", body={"lane": "vip"})):
        assert status == 403
        assert reply["error"]["type"] == "PermissionDeniedError"
        assert "it may use realtime, async" in reply["error"]["message"]
        assert reply["error"]["reason"] == "permission_denied"
    assert ask_http(server, "plain")[0] == 200


def test_tenants_that_wait_are_admitted_by_their_shares(tmp_path):
    """Three to one, in a queue where the larger tenant's requests all came first."""
    count, enough = 60, 12
    config = tmp_path / "server.yaml"
    config.write_text("""
tenants:
  - {name: three, zmq_identities: ["three-*"], lanes: [async], share: 3}
  - {name: one, zmq_identities: ["one-*"], lanes: [async]}
""")
    with running_server("--config", str(config), "--max-num-seqs", "2") as server:
        assert "not acted on" not in server.log.read_text()
        with client_of(server, "three") as three, client_of(server, "one") as one:
            for wire in (three, one):
                for _ in range(count):
                    wire.submit(new_id(), lane="async", prompt="Hi", max_tokens=16, ignore_eos=True)
            for _ in range(enough):
                one.receive_of(FINISHED)
            finished = 0
            while three.socket.poll(0):
                finished += three.receive().kind == FINISHED
    print(finished, "of three,", enough, "of one")
    assert 2.5 * enough <= finished <= 3.5 * enough + 4  # what came in before anybody else, and what runs


def test_the_promise_is_counted_as_the_client_counts_it(tmp_path):
    """More than the vip lane can serve in time, so that both figures lie between none and all."""
    count, result = 60, tmp_path / "figures.json"
    with running_server() as server:
        done = run_troupe("bench", "serve", "--url", server.http, "--model", required_file("TROUPE_TEST_MODEL"),
                          "--num-prompts", str(count), "--num-warmups", "0", "--request-rate", "30", "--ignore-eos",
                          "--random-input-len", "128", "--random-output-len", "16", "--lanes", "vip=1",
                          "--goodput", "ttft:200", "tpot:40", "--result", str(result), seconds_max=300)
        assert done.returncode == 0, done.stderr
        figures = json.loads(result.read_text())
        by_client = figures["request_goodput"] * figures["duration"] / figures["completed"]
        with Wire(server.zmq) as wire:
            values = wire.stats()
    print("by the client", by_client, "by the server", values["lane_sla_attainment.vip"])
    assert figures["completed"] == values["lane_sla_requests_total"] == count
    # A request whose time lies at the target may fall on either side.
    assert abs(by_client - values["lane_sla_attainment.vip"]) <= 3 / count
