"""What help and man pages tell beside the declarations in ``options``: a few sentences and examples."""

from __future__ import annotations

__all__ = ["ABOUT", "EXAMPLES", "MORE"]

ABOUT = (
    "An OCI container runtime: turns a bundle, a directory with a config.json and a root file system, "
    "into an isolated process. Takes the command lines of runc."
)

#: By command: sentences that follow its summary.
MORE = {
    "audit": "It judges the plan, so what is done by default counts. Each exposure has a weight, what could "
    "be done, the place in config.json, and what closes it. A name without a slash may be a container's.",
    "checkpoint": "The work is CRIU's, which is looked for in PATH. Afterwards the container is stopped, and "
    "restore goes on where it was.",
    "completion": "A package installs these files where shells find them; this is for all others.",
    "create": "Its process is set up as config.json says and waits for start before it becomes the program.",
    "delete": "With --force a running container is killed first.",
    "doctor": "Each thing is really tried, in a child or in a cgroup that goes at once; nothing stays. Of "
    "a bundle neither its program nor a hook is run. The exit status is 1 where it could not run here.",
    "events": "Without --stats it goes on until the container ends. Without an ID it is about all, those to "
    "come too, tells when one ends, and goes on until it is interrupted.",
    "exec": "The container's environment, user and working directory are the defaults. What follows the ID "
    "is the command, dashes and all; with --process a file says everything. The exit status is that of the "
    "command.",
    "features": "Engines read this to find out what a runtime can do (features.md of the specification).",
    "kill": "A signal is a number or a name, with or without SIG.",
    "list": "Of what it cannot read it warns on stderr.",
    "mount": "What is mounted goes with the container, or with umount. Links inside stay inside.",
    "pause": "Its cgroup is frozen; resume lets it run on.",
    "plan": "The plan is computed from the config alone; no privilege is needed, and nothing is changed.",
    "ps": "What follows the ID goes to ps(1) of the host; without that it is -ef.",
    "restore": "The images are those that checkpoint has written.",
    "run": "The exit status is the container's. With --detach naja does not wait.",
    "spec": "With --host the host's own programs are the root file system, read-only, and a command may "
    "follow.",
    "start": "The program takes the place of the process that has waited since create.",
    "state": "The output is that of the specification: id, status, pid, bundle and annotations.",
    "top": "It shows processes, processor time, memory and block I/O until it is interrupted.",
    "trace": "The table goes to stderr, as the container's output stays its own, and the exit status is the "
    "container's. --output is for ui.perfetto.dev and chrome://tracing.",
    "umount": "Only what mount has mounted goes, the last one first, and at once. Open files stay open.",
    "update": "What is not given stays as it is. Limits may be given as JSON, from a file or from stdin.",
    "validate": "Every problem is a line: the place in config.json, and what is wrong. The exit status is 1 "
    "where there is one.",
}

#: By command, "" for naja itself: a command line, and what it does.
EXAMPLES = {
    "": (
        ("naja spec --host --bundle box", "write a bundle with the host's own programs"),
        ("naja run --bundle box box", "run it as the container box"),
    ),
    "audit": (
        ("naja audit box", "what the container box, or one of the bundle box/, could do to the host"),
        ("naja audit --fail-above 5 ./box", "status 2 where the score is above 5"),
        ("naja audit box --diff ./other", "what the other one could do more, and less"),
    ),
    "checkpoint": (
        ("naja checkpoint --image-path images box", "save a container, and stop it"),
        ("naja checkpoint --leave-running --image-path images box", "save it, and let it run on"),
    ),
    "completion": (
        ('eval "$(naja completion bash)"', "complete words in this shell"),
        ("naja completion fish > ~/.config/fish/completions/naja.fish", "in every fish from now on"),
    ),
    "create": (
        ("naja create --bundle box box", "make a container from the bundle in box/"),
        (
            "naja create --pid-file box.pid --console-socket tty.sock box",
            "its terminal goes to a socket",
        ),
    ),
    "delete": (
        ("naja delete box", "remove what a stopped container leaves"),
        ("naja delete --force box", "end it first; no error where there is none"),
    ),
    "doctor": (
        ("naja doctor", "what there is, what is missing for what, and how to get it"),
        ("naja doctor box", "and which line of box/config.json this host says no to"),
    ),
    "events": (
        ("naja events --stats box", "print the statistics once"),
        ("naja events --interval 10s box", "print them every ten seconds"),
        ("naja events", "statistics and ends of all containers"),
    ),
    "exec": (
        ("naja exec box id", "run a program in a container"),
        (
            "naja exec --tty --user 1000:1000 --env TERM=linux box sh -l",
            "a shell on a terminal",
        ),
        ("naja exec --user www-data:www-data box id", "by the container's own /etc/passwd and /etc/group"),
        ("naja exec --limit memory=64m --limit pids=32 box make", "with limits of its own"),
        ("naja exec --detach --process process.json box", "what a file describes; do not wait"),
    ),
    "features": (("naja features", "print them"),),
    "kill": (
        ("naja kill box", "send SIGTERM"),
        ("naja kill --all box KILL", "end all of its processes"),
        ("naja kill box RTMIN+3", "send a real-time signal"),
    ),
    "list": (
        ("naja list", "a table"),
        ("naja list --format json", "for programs"),
        ("naja --root /run/docker/runtime-runc/moby list --quiet", "the IDs of an engine's containers"),
    ),
    "mount": (
        ("naja mount box /srv/data /data", "show a directory of the host in a container"),
        ("naja mount -o rbind,rro box /srv /srv", "with all that is mounted below it, read-only"),
        ("naja mount --type tmpfs -o size=16m box tmpfs /scratch", "make a tmpfs in it"),
    ),
    "pause": (("naja pause box", "suspend all processes"),),
    "plan": (
        ("naja plan box", "what create would do"),
        ("naja plan --run --json box", "what run would do, for programs"),
        ("naja plan box --diff other", "what would be done otherwise for the config of other/"),
    ),
    "ps": (
        ("naja ps box", "its processes"),
        ("naja ps box -o pid,user,args", "in columns of your own"),
        ("naja ps --format json box", "their pids"),
    ),
    "restore": (("naja restore --image-path images --bundle box box", "go on where checkpoint stopped"),),
    "resume": (("naja resume box", "let a paused container run on"),),
    "run": (
        ("naja run box", "the bundle in the current directory"),
        ("naja run --bundle box --detach box", "return once its program runs"),
        ("naja run --bundle box --keep box", "leave what it was for state, until delete"),
    ),
    "spec": (
        ("naja spec", "write config.json here"),
        ("naja spec --host --bundle box /bin/sh -c 'ps; id'", "a bundle that needs no image"),
        ("naja spec --rootless", "for who is not root"),
    ),
    "start": (("naja start box", "run the program of a created container"),),
    "state": (("naja state box", "print its state"),),
    "top": (
        ("naja top", "all containers, again and again"),
        ("naja top --once", "one look"),
        ("naja top -n 10 --interval 1s", "ten looks"),
    ),
    "trace": (
        ("naja trace box", "run the bundle in box/, and show what took how long"),
        ("naja trace --output box.trace.json box", "for Perfetto"),
    ),
    "umount": (("naja umount box /data", "take away what is mounted there"),),
    "update": (
        ("naja update --memory 64m --pids-limit 100 box", "change two limits"),
        ("naja update --resources limits.json box", "what a file says"),
    ),
    "validate": (
        ("naja validate box", "look at box/config.json"),
        ("naja validate --json box", "report for programs"),
    ),
}
