"""The flags of list: clusters as people type them, and one clear line for a mistake."""

import itertools

import pytest

from tcpscope.cli import flags
from tcpscope.cli.flags import select
from tcpscope.cli.main import main
from tcpscope.model.errors import UsageError


@pytest.mark.parametrize("argv", [["-tanp"], ["-t", "-a", "-n", "-p"], ["-tan", "-p"], ["-pnat"]])
def test_clusters_mean_the_same_in_any_order(argv):
    options = flags.parse_clusters(argv)
    assert options.tcp and options.all and options.numeric and options.programs
    assert not options.udp and not options.needs_words


def test_quick_and_full_parser_agree_on_every_pair_of_switches():
    for pair in itertools.combinations(flags.SWITCHES, 2):
        argv = ["-" + "".join(pair)]
        assert vars(flags.parse_clusters(argv)).items() <= vars(flags._parse_all(argv)).items()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["-tan"], (0xFFF, 0, 0)),
        (["-tulpn"], (1 << 10, 1 << 7, 0)),
        (["-t"], (0xFFF & ~(1 << 10), 0, 0)),
        (["-u"], (0, 1 << 1, 0)),
        (["-anlp", "-4"], (0xFFF, 0xFFF, 2)),
        (["-taB6"], (0x2FFF, 0, 10)),
        (["-46"], (0xFFF & ~(1 << 10), 1 << 1, 0)),
    ],
)
def test_switches_choose_states_as_netstat_does(argv, expected):
    assert select(flags.parse_options(argv)) == expected


@pytest.mark.parametrize(
    ("argv", "columns", "words"),
    [
        (["-tano"], "+timer", []),
        (["-anop"], "+timer", []),
        (["-tnoe"], "+timer", []),
        (["-tano", "state", "established"], "+timer", ["state", "established"]),
        (["-o", "state", "time-wait", "dport", "=", ":443"], "+timer", ["state", "time-wait", "dport", "=", ":443"]),
        (["-tano", ":22"], "+timer", [":22"]),
        (["-tano", "( sport = :22 )"], "+timer", ["( sport = :22 )"]),
        (["--timers", "-tan"], "+timer", []),
        (["--tcp", "--processes", "--extended", "--options"], "+timer", []),
        (["-o", "state", "-tan"], "state", []),
        (["-tan", "-o", "state"], "state", []),
        (["-o", "state,local", "-tan"], "state,local", []),
        (["-tanoage"], "age", []),
        (["-ortt"], "rtt", []),
        (["-o", "+age", "state", "time-wait"], "+age", ["state", "time-wait"]),
    ],
)
def test_timers_of_ss_and_columns_of_our_own_share_a_letter(argv, columns, words):
    options = flags.parse_options(argv)
    assert (options.columns, options.filter) == (columns, words)
    assert not options.tcp or options.tcp is True


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["-tanZ"], "unknown flag -Z"),
        (["-tanK"], "tcpscope kill"),
        (["-s"], "tcpscope stats"),
        (["--nonsense"], "--nonsense"),
        (["--names", "solaris"], "solaris"),
        (["--json", "--csv"], "exclude"),
        (["--watch", "0"], "between"),
        (["--watch=nan"], "between"),
        (["--sort"], "--sort"),
        (["-tano", "--nonsense"], "--nonsense"),
        (["--netns", "a", "--all-namespaces"], "exclude"),
    ],
)
def test_mistake_is_one_line_and_usage_error(argv, said):
    with pytest.raises(UsageError, match=said) as caught:
        flags.parse_options(argv)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("argv", [["list", "-tanZ"], ["list", "-o", "nonsense"], ["list", "--sort", "nonsense"]])
def test_mistake_exits_2_with_one_line(argv, capsys):
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["-tan", "--sort", "-recv-q"], {"sort": "-recv-q"}),
        (["--sort=-age", "-o", "+age,+rtt"], {"sort": "-age", "columns": "+age,+rtt"}),
        (["-tano"], {"columns": "+timer", "tcp": True, "all": True}),
        (["-tano", "state"], {"columns": "state"}),
        (["--watch"], {"watch": 2.0}),
        (["--watch", "0.5", "-t"], {"watch": 0.5, "tcp": True}),
        (["--watch", "state", "close-wait"], {"watch": 2.0, "filter": ["state", "close-wait"]}),
        (["-tanc"], {"watch": 1.0, "tcp": True}),
        (["state", "time-wait", "-tn", "sport", "=", ":443"], {"filter": ["state", "time-wait", "sport", "=", ":443"]}),
    ],
)
def test_values_after_options_are_what_people_mean(argv, expected):
    options = flags.parse_options(argv)
    assert {name: getattr(options, name) for name in expected} == expected
    assert options.needs_words


@pytest.mark.parametrize("first", ["--program", "--numeric", "--timers", "--sort=state"])
def test_any_long_option_of_list_in_front_means_list(first, capsys):
    assert main([first, "--ipv4"]) == 0
    assert capsys.readouterr().out.startswith("Proto Recv-Q Send-Q")


def test_long_options_of_the_overview_stay_its_own(capsys):
    assert main(["--json"]) == 0
    assert '"tcpscope.overview/1"' in capsys.readouterr().out
