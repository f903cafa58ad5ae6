"""The full-screen view: a list that grows, a line to filter it, and the chosen exchange with both sides beside each other."""

from collections.abc import Sequence
from typing import ClassVar

from rich.console import Group
from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Footer, Input, Static

from gateway.traffic import render, show
from gateway.traffic.exchanges import Exchange
from gateway.traffic.language import FilterError, parsed
from gateway.traffic.reading import Shown
from gateway.traffic.tree import EVERYTHING, Tree, written
from gateway.traffic.view.asking import MOST, Answer, Asking

POLL_EVERY = 0.5
COLUMNS = ("id", "time", "", "charger", "action", "outcome", "latency", "remarks", "findings", "legs", "note")


class View(App[None]):
    """Looks at a log, which others may write meanwhile."""

    TITLE = "traffic"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #filter { height: 1; border: none; padding: 0 1; }
    #problem { height: auto; max-height: 3; color: $text-error; padding: 0 1; display: none; }
    #state { height: 1; color: $text-muted; padding: 0 1; }
    #list { height: 1fr; }
    #chosen { height: 1fr; border-top: solid $primary; }
    #chosen:focus { border-top: solid $accent; }
    #chosen.whole { height: 4fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter"),
        Binding("p", "pause", "Pause"),
        Binding("g", "newest", "Newest"),
        Binding("w", "whole", "Wide"),
        Binding("escape", "list", "List"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, log: Shown, tree: Tree = EVERYTHING, *, poll_every: float = POLL_EVERY) -> None:
        super().__init__()
        self._asking, self._poll_every = Asking(log, log.raw), poll_every
        self._tree = tree
        self._shown: dict[int, Exchange] = {}  # by id, as they stand in the list
        self._last = self._question = 0
        self._busy = self.paused = False
        self._chosen: Exchange | None = None
        self._problem = ""

    def compose(self) -> ComposeResult:
        said = "" if self._tree == EVERYTHING else written(self._tree)
        yield Input(said, placeholder="filter: charger == CP7 and not ok", id="filter", compact=True)
        yield Static(id="problem", markup=False)
        yield DataTable(id="list", cursor_type="row", zebra_stripes=True)
        yield Static(id="state", markup=False)
        with VerticalScroll(id="chosen"):
            yield Static(id="exchange", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        for column in COLUMNS:
            self._list.add_column(column, key=column or "direction")
        self._list.focus()
        self._begin()
        self.set_interval(self._poll_every, self._poll)

    @property
    def _list(self) -> DataTable[Text]:
        return self.query_one("#list", DataTable)

    # --- asking the log

    def _begin(self) -> None:
        """Everything anew; answers to older questions count no more."""
        self._question += 1
        self._busy = True
        self._ask_newest(self._question, self._tree)

    def _poll(self) -> None:
        if not self._busy and not self.paused:
            self._busy = True
            self._ask_fresh(self._question, self._tree, self._last, list(self._shown.values()))

    @work(thread=True, group="log", exit_on_error=True)
    def _ask_newest(self, question: int, tree: Tree) -> None:
        self.call_from_thread(self._put_newest, question, self._asking.newest(tree))

    @work(thread=True, group="log", exit_on_error=True)
    def _ask_fresh(self, question: int, tree: Tree, after: int, shown: list[Exchange]) -> None:
        self.call_from_thread(self._put_fresh, question, self._asking.fresh(tree, after, shown))

    def _put_newest(self, question: int, answer: Answer) -> None:
        if question != self._question:
            return
        self._busy = False
        self._list.clear()
        self._shown.clear()
        self._choose(None)
        self._last = answer.last
        self._add(answer.exchanges)
        self.call_after_refresh(self.action_newest)  # once it is known how much room there is
        self._tell(answer)

    def _put_fresh(self, question: int, answer: Answer) -> None:
        if question != self._question:
            return
        self._busy = False
        follows = self._list.cursor_row >= self._list.row_count - 1
        self._last = answer.last
        self._change(answer.again)
        self._add(answer.exchanges)
        if follows and answer.exchanges:
            self.call_after_refresh(self.action_newest)
        self._tell(answer)

    # --- the list

    def _add(self, exchanges: Sequence[Exchange]) -> None:
        for exchange in exchanges:
            if exchange.id in self._shown:
                self._change([exchange])
                continue
            self._shown[exchange.id] = exchange
            self._list.add_row(*_cells(exchange), key=str(exchange.id))
        while len(self._shown) > MOST:
            oldest = next(iter(self._shown))
            del self._shown[oldest]
            self._list.remove_row(str(oldest))

    def _change(self, exchanges: Sequence[Exchange]) -> None:
        for exchange in exchanges:
            self._shown[exchange.id] = exchange
            for column, cell in zip(COLUMNS, _cells(exchange), strict=True):
                self._list.update_cell(str(exchange.id), column or "direction", cell)
            if self._chosen is not None and self._chosen.id == exchange.id:
                self._choose(exchange)

    def _tell(self, answer: Answer) -> None:
        self._problem = answer.problem
        among = "" if answer.searched is None else f" - text looked for in the newest {answer.searched:,}"
        self._put_state(among)

    def _put_state(self, more: str = "") -> None:
        how = "paused" if self.paused else "live"
        text = f"{how} - {len(self._shown):,} exchanges{more}"
        problem = f" - {self._problem}" if self._problem else ""
        self.query_one("#state", Static).update(Text(render.visible(text + problem), "red" if problem else ""))

    # --- the chosen one

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.row_key is not None and event.row_key.value is not None:
            self._choose(self._shown.get(int(event.row_key.value)))

    def on_data_table_row_selected(self) -> None:
        self.query_one("#chosen").focus()

    def _choose(self, exchange: Exchange | None) -> None:
        self._chosen = exchange
        shown = Text() if exchange is None else Group(*show.parts(exchange, wide=True))
        self.query_one("#exchange", Static).update(shown)

    # --- the filter

    def on_input_changed(self, event: Input.Changed) -> None:
        self._read(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        tree = self._read(event.value)
        if tree is not None:
            self._tree = tree
            self._list.focus()
            self._begin()

    def _read(self, text: str) -> Tree | None:
        """The tree; or None, and what is wrong stands under the line."""
        problem = self.query_one("#problem", Static)
        try:
            tree = parsed(text)
        except FilterError as error:
            problem.update(Text(render.visible(str(error), "\n")))
            problem.display = True
            return None
        problem.display = False
        return tree

    # --- keys

    def action_filter(self) -> None:
        """To the line of the filter."""
        self.query_one("#filter").focus()

    def action_list(self) -> None:
        """To the list."""
        self._list.focus()

    def action_pause(self) -> None:
        """The list stands still, or goes on."""
        self.paused = not self.paused
        self._put_state()

    def action_newest(self) -> None:
        """To the end of the list, where it goes on."""
        self._list.move_cursor(row=self._list.row_count - 1, animate=False)

    def action_whole(self) -> None:
        """More room for the chosen exchange, or less."""
        self.query_one("#chosen").toggle_class("whole")


def _cells(exchange: Exchange) -> list[Text]:
    """In the order of COLUMNS, so that what matters most is seen in 80 columns; the time of day alone."""
    cells = dict(zip(render.HEADINGS, render.cells(exchange), strict=True))
    cells["time"] = Text(cells["time"].plain[11:-1])
    return [cells[column] for column in COLUMNS]
