"""Staying with a container's process: signals forwarded, the terminal relayed, its end awaited."""

from __future__ import annotations

import _signal
import errno
import os
import select

from ..errors import NajaError
from ..linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..systemd.notify import Notifications

_CHUNK = 65536

#: Not to be forwarded: they are about naja's own terminal and children, or cannot be caught.
_OWN = {_signal.SIGCHLD, _signal.SIGWINCH, _signal.SIGKILL, _signal.SIGSTOP}
#: Raised in a process that does something wrong: naja's own mistakes stay its own, what others send is
#: forwarded. They are blocked and read with who sent them, for a handler would not be told; a real fault ends
#: a process all the same.
_FAULTS = {
    *(_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGILL, _signal.SIGFPE),
    *(_signal.SIGABRT, _signal.SIGSYS, _signal.SIGPIPE),
}

#: What ends a creation that waits for something; of one that goes on they reach the container.
_ENDING = {_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM}


def _open_ears() -> tuple[int, int, int]:
    """Return the ends of the pipe in which handlers note signals, and the descriptor to read faults from.

    Raises NajaError.
    """
    ends: tuple[int, ...] = ()
    try:
        ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return *ends, process.signalfd(_FAULTS)
    except OSError as error:
        for end in ends:
            os.close(end)
        raise NajaError.from_os_error("watch for signals", error) from None


class Attached:
    """The caller's side of a container in the foreground.

    Make one before the process is born, so that no signal is lost; ``wait`` returns the exit code;
    ``close`` gives the caller its signals and its terminal back.
    """

    def __init__(self) -> None:
        self._wakeup, self._alarm, self._faults = _open_ears()
        self._saved_handlers: dict[int, Any] = {}
        self._ending = 0
        for number in _signal.valid_signals() - _OWN - _FAULTS | {_signal.SIGCHLD, _signal.SIGWINCH}:
            try:
                self._saved_handlers[number] = _signal.signal(number, self._take_note)
            except (OSError, ValueError):
                continue  # A signal that the C library keeps for itself.
        self._saved_mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _FAULTS)
        self._saved_wakeup = _signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        self._terminal: Terminal | None = None
        self._pid = 0
        #: What the container says to $NOTIFY_SOCKET, to be passed on.
        self.notifications: Notifications | None = None

    def _take_note(self, number: int, _frame: object) -> None:
        if number in _ENDING and not self._ending:
            self._ending = number

    def interrupted(self) -> int:
        """Return the number of the first signal that asked for the end, 0 where none has come."""
        return self._ending

    def relay(self, console: int) -> None:
        """Connect the caller's stdin and stdout with the master of the container's terminal."""
        self._terminal = Terminal(console)

    def wait(self, pid: int) -> int:
        """Wait for the end of a child and return its exit code, 128 + N where signal N ended it.

        Other children that end meanwhile (as the caller may be a subreaper) are reaped.
        """
        self._pid = pid
        pidfd = process.pidfd_open(pid)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        poll.register(self._faults, select.POLLIN)
        if self._terminal:
            self._terminal.register(poll)
        notify = self.notifications.fileno() if self.notifications else -1
        if notify >= 0:
            poll.register(notify, select.POLLIN)
        code: int | None = None
        while code is None:
            for ready, _ in poll.poll():
                if ready == self._wakeup:
                    self._forward(pidfd)
                elif ready == self._faults:
                    number, sender = process.read_signal(ready)
                    if sender != os.getpid():
                        self._send(pidfd, number)
                elif ready == pidfd:
                    code = _reap(pid)
                elif ready == notify and self.notifications:
                    self.notifications.forward()
                elif self._terminal:
                    self._terminal.move(ready, poll)
        os.close(pidfd)
        if self.notifications:
            self.notifications.drain()
        if self._terminal:
            self._terminal.drain()
            self._close_terminal()
        return code

    def _forward(self, pidfd: int) -> None:
        for number in os.read(self._wakeup, 4096):
            if number == _signal.SIGCHLD:
                self._reap_strangers()
            elif number == _signal.SIGWINCH:
                if self._terminal:
                    self._terminal.resize()
            else:
                self._send(pidfd, number)

    def _send(self, pidfd: int, number: int) -> None:
        try:
            process.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            pass  # It has ended, which is what comes next.

    def _reap_strangers(self) -> None:
        """Reap ended children other than the container's process, whose status ``wait`` wants."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid == self._pid:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)

    def close(self) -> None:
        """Undo what making this has changed."""
        self._close_terminal()
        _signal.set_wakeup_fd(self._saved_wakeup)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._saved_mask)
        for number, handler in self._saved_handlers.items():
            _signal.signal(number, _signal.SIG_DFL if handler is None else handler)
        for descriptor in (self._wakeup, self._alarm, self._faults):
            os.close(descriptor)

    def _close_terminal(self) -> None:
        if self._terminal:
            self._terminal.close()
        self._terminal = None


def _reap(pid: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - code if code < 0 else code


class Terminal:
    """The caller's terminal in raw mode, and the master of the container's beside it."""

    def __init__(self, console: int) -> None:
        import termios

        self._termios = termios
        self._console = console
        self._saved: list[Any] | None = None
        os.set_blocking(console, False)
        self._pending = b""  # typed, but not yet taken by the container
        self._poll: select.poll | None = None
        self._unread = False  # Whoever read our stdout is gone.
        if os.isatty(0):
            self._saved = termios.tcgetattr(0)
            self._make_raw()

    def _make_raw(self) -> None:
        """As cfmakeraw(3), but for OPOST: line ends are left to this terminal (``terminal.serve``)."""
        t = self._termios
        mode = t.tcgetattr(0)
        mode[0] &= ~(t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON)
        mode[2] = mode[2] & ~(t.CSIZE | t.PARENB) | t.CS8
        mode[3] &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
        mode[6][t.VMIN], mode[6][t.VTIME] = 1, 0
        t.tcsetattr(0, t.TCSANOW, mode)

    def resize(self) -> None:
        """Give the container's terminal the size of the caller's."""
        from ..operations.terminal import copy_size  # It was loaded where there is a terminal.

        if self._console >= 0:
            copy_size(self._console)

    def register(self, poll: select.poll) -> None:
        """Watch both sides."""
        self._poll = poll
        poll.register(self._console, select.POLLIN)
        try:
            poll.register(0, select.POLLIN)
        except (OSError, ValueError):
            return  # No standard input; the container gets none.

    def move(self, ready: int, poll: select.poll) -> None:
        """Carry what there is from the ready side to the other."""
        if ready == self._console:
            self._flush()
            if not self._to_caller():
                poll.unregister(self._console)
                self._poll = None
                if self._unread:
                    self._hang_up()
            return
        try:
            typed = os.read(0, _CHUNK)
        except OSError:
            typed = b""  # It has been hung up.
        if not typed:
            poll.unregister(0)
            typed = b"\x04"  # The end of input, as a terminal says it.
        self._pending += typed
        self._flush()

    def _flush(self) -> None:
        while self._pending:
            try:
                self._pending = self._pending[os.write(self._console, self._pending) :]
            except BlockingIOError:
                break
            except OSError:
                self._pending = b""  # The container has closed its side.
        if self._poll:
            self._poll.modify(self._console, select.POLLIN | (select.POLLOUT if self._pending else 0))

    def _to_caller(self) -> bool:
        """Copy what the container wrote to stdout; False at the end, or where nobody reads that."""
        try:
            data = os.read(self._console, _CHUNK)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno == errno.EIO:  # The last slave was closed.
                return False
            raise
        try:
            while data:
                data = data[os.write(1, data) :]
        except OSError:
            self._unread = True
            return False
        return True

    def _hang_up(self) -> None:
        """Hang up the container's terminal: its program gets SIGHUP, and is waited for as ever."""
        os.close(self._console)
        self._console = -1

    def drain(self) -> None:
        """Copy what the container wrote before it ended."""
        while self._console >= 0 and select.select([self._console], [], [], 0)[0] and self._to_caller():
            pass

    def close(self) -> None:
        """Restore the caller's terminal."""
        if self._console >= 0:
            os.close(self._console)
        if self._saved:
            try:
                self._termios.tcsetattr(0, self._termios.TCSADRAIN, self._saved)
            except self._termios.error:
                pass  # It has been hung up.
