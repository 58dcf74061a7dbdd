"""Data flow of losses and learned parameters through classes and functions.

Every class and function is walked once, statement by statement, on values of `aura_study.audit.scan.values`; what is
called with a learned parameter is followed, within the repository. Branches are all taken, loops once.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from aura_study.audit.scan.names import MAKERS, Function, Names, called, learned
from aura_study.audit.scan.sources import Source
from aura_study.audit.scan.values import DATA, LOSS, NUMBER, Value, either, form, total
from aura_study.audit.scan.vocabulary import (
    CONSTANTS,
    DETACHED,
    FUNCTIONS,
    HANDED,
    KEEPS,
    MASK,
    MASKED,
    OPERATORS,
    SETTINGS,
    SUMS,
)

Scope = Function | ast.ClassDef | ast.Module
DEEPEST = 4
"""Calls that are followed within each other."""
MOST_STEPS = 300_000
"""Expressions that are walked for one class or function, calls included."""


@dataclass(frozen=True)
class Place:
    """A class or function of a file, or the statements of the file itself."""

    source: Source
    scope: Scope

    @property
    def name(self) -> str:
        """Name of the class or function; none for a file's own statements."""
        return getattr(self.scope, "name", "")


@dataclass
class Weighing:
    """Where one parameter weighs a loss.

    Attributes:
        place: the class or function in which it stands.
        line: of the source.
        form: name of the parameterisation.
        guards: how an absent task is left out, on the way to this place.
        sounds: does anything about it sound like a loss?
    """

    place: Place
    line: int
    form: str
    guards: frozenset[str]
    sounds: bool


@dataclass
class Found:
    """What the walk has met: every weighing by parameter, and which parameters are also added."""

    weighings: dict[str, list[Weighing]] = field(default_factory=dict)
    regularised: set[str] = field(default_factory=set)
    guards: dict[str, set[str]] = field(default_factory=dict)


class Walk:
    """The walk through one class or function and what it calls."""

    def __init__(self, names: Names, place: Place, found: Found, env: dict[str, Value] | None = None) -> None:
        self.names, self.place, self.found = names, place, found
        self.env: dict[str, Value] = env if env is not None else {}
        self.returned: list[Value] = []
        self.guards: tuple[str, ...] = ()
        self.calls: tuple[Scope, ...] = ()
        self.owner: ast.ClassDef | None = place.scope if isinstance(place.scope, ast.ClassDef) else None
        self.steps = [MOST_STEPS]
        self.following = ""
        self.aliases: dict[str, str] = {}  # self.loss_func = log_gaussian_loss
        self.optional: frozenset[str] = frozenset()

    # ---- classes and functions

    def of_class(
        self, node: ast.ClassDef, arguments: Sequence[Value] = (), named: Mapping[str, Value] | None = None
    ) -> None:
        """The class's methods, its constructor first, so that ``self`` is known to the others."""
        for base in node.bases:
            for source, parent in self.names.class_named(called(base), self.place.source):
                if parent is not node and parent not in self.calls:
                    inner = self._inside(Place(source, parent), self.env, parent)
                    inner.of_class(parent)
        methods = [item for item in node.body if isinstance(item, Function)]
        self.statements([item for item in node.body if isinstance(item, ast.Assign | ast.AnnAssign)])
        making = ("__init__", "build", "setup", "__post_init__")
        for method in sorted(methods, key=lambda item: item.name not in making):
            first = method.name in making
            self._function(method, arguments if first else (), named or {} if first else {}, number=first)

    def _inside(self, place: Place, env: dict[str, Value], scope: Scope) -> "Walk":
        inner = Walk(self.names, place, self.found, env)
        inner.calls, inner.guards, inner.steps = (*self.calls, scope), self.guards, self.steps
        inner.aliases = self.aliases
        inner.owner = place.scope if isinstance(place.scope, ast.ClassDef) else self.owner
        return inner

    def _function(
        self, node: Function, arguments: Sequence[Value], named: Mapping[str, Value], *, number: bool = False
    ) -> Value:
        """Walk a function with these arguments; those not given are data, or numbers where a default says so."""
        local = dict(self.env)
        defaults = _defaults(node)
        for at, (name, default) in enumerate(defaults.items()):
            given = named.get(name) or (arguments[at] if at < len(arguments) else None)
            setting = (number and not HANDED.fullmatch(name)) or getattr(default, "value", None) is not None
            local[name] = given or (NUMBER if setting or SETTINGS.match(name) else DATA)
        for star in (node.args.vararg, node.args.kwarg):
            if star is not None:
                rest = arguments[len(defaults) :]
                local[star.arg] = either(rest) if rest else NUMBER if number else DATA
        inner = self._inside(self.place if self.owner else Place(self.place.source, node), local, node)
        inner.owner = self.owner
        inner.optional = frozenset(name for name, default in defaults.items() if getattr(default, "value", 0) is None)
        inner.statements(node.body)
        self.env |= {key: value for key, value in inner.env.items() if key.startswith("self.")}
        return inner.returned[0] if len(inner.returned) == 1 else either(inner.returned)

    # ---- statements

    def statements(self, body: Iterable[ast.stmt]) -> None:
        """One after the other; an early ``continue`` guards what comes after it."""
        with self._guarded():
            for node in body:
                self.statement(node)
                if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Continue | ast.Return):
                    self.guards = (*self.guards, *self._guard(node.test))

    def statement(self, node: ast.stmt) -> None:
        """One statement, and the blocks in it."""
        match node:
            case ast.Assign(targets=targets, value=value):
                self._assign(targets, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign([target], value)
            case ast.AugAssign(target=target, op=op, value=value):
                if learned(value):  # added to a list
                    self._learn(_text(target))
                    return
                before = self.env.get(_text(target), self.evaluate(target))
                self._set(target, self._noted(self._operate(op, before, self.evaluate(value), node)))
            case ast.Return(value=ast.expr() as value) | ast.Expr(value=value):
                got = self._noted(self.evaluate(value))
                if isinstance(node, ast.Return):
                    self.returned.append(got)
            case ast.If(test=test, body=body, orelse=orelse):
                self._branches(test, body, orelse)
            case ast.For(target=target, iter=over, body=body) | ast.AsyncFor(target=target, iter=over, body=body):
                self._bind(target, over)
                with self._guarded(*self._over_the_present(over)):
                    self.statements(body)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node, (), {})
            case ast.ClassDef():
                pass
            case ast.Try():
                for block in (node.body, *(handler.body for handler in node.handlers), node.orelse, node.finalbody):
                    self.statements(block)
            case _:
                for item in getattr(node, "items", []):
                    self.evaluate(item.context_expr)
                self.statements(getattr(node, "body", []))

    def _branches(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> None:
        before = dict(self.env)
        with self._guarded(*self._guard(test)):
            self.statements(body)
        after, self.env = self.env, before
        self.statements(orelse)
        for key, value in after.items():
            other = self.env.get(key, value)
            if value.data != other.data:  # a parameter in one branch is one; else data in either is data
                value = value if value.learned or (value.data and not other.learned) else other
            else:
                value = value | other
            self.env[key] = value

    def _assign(self, targets: Sequence[ast.expr], value: ast.expr) -> None:
        if learned(value):
            for target in targets:
                self._learn(_text(target))
            return
        for target in targets:
            if isinstance(value, ast.Name) and value.id in self.names.functions:
                self.aliases[_text(target)] = value.id
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
                for one, its in zip(target.elts, value.elts, strict=True):
                    self._assign([one], its)
            else:
                self.following = _text(target)
                self._set(target, self._noted(self.evaluate(value)))
                self.following = ""

    def _set(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            parts = value.parts if len(value.parts) == len(target.elts) else [value] * len(target.elts)
            for one, part in zip(target.elts, parts, strict=True):
                self._set(one, part)
        elif isinstance(target, ast.Subscript):  # a container of terms is their sum
            name = _text(target)
            held = self.env.get(name, NUMBER)
            self.env[name] = self._noted(held + value if LOSS.search(name) else held | value)
        elif isinstance(target, ast.Attribute) and target.attr == "requires_grad":
            self._learn(_text(target.value))
        elif isinstance(target, ast.Starred):
            self._set(target.value, value)
        else:
            self.env[_text(target)] = value

    def _bind(self, target: ast.expr, over: ast.expr) -> None:
        """What the names of a loop stand for, through zip, enumerate and items."""
        name, parts = called(over) if isinstance(over, ast.Call) else "", getattr(target, "elts", [])
        if name == "zip" and isinstance(over, ast.Call) and len(parts) == len(over.args):
            for one, its in zip(parts, over.args, strict=True):
                self._bind(one, its)
        elif name == "enumerate" and isinstance(over, ast.Call) and len(parts) == 2 and over.args:
            self._set(parts[0], NUMBER)
            self._bind(parts[1], over.args[0])
        elif name == "items" and len(parts) == 2:
            self._set(parts[0], NUMBER)
            self._set(parts[1], self.evaluate(over))
        else:
            self._set(target, NUMBER if name in ("range", "keys") else self.evaluate(over))

    def _learn(self, name: str) -> None:
        self.env[name] = Value(learned=frozenset((name,)))

    # ---- guards

    @contextmanager
    def _guarded(self, *guards: str) -> Iterator[None]:
        """What is walked meanwhile leaves an absent task out, in one of these ways."""
        before, self.guards = self.guards, (*self.guards, *guards)
        yield
        self.guards = before

    def _guard(self, test: ast.expr) -> tuple[str, ...]:
        """How a test tells that a task is absent; nothing where it asks about something else."""
        text = ast.unparse(test)
        if isinstance(test, ast.BoolOp):
            return tuple(guard for part in test.values for guard in self._guard(part))
        if isinstance(test, ast.UnaryOp):
            return self._guard(test.operand)
        if re.search(r"isnan|isfinite|isinf", text):
            return ("NaN",)
        if isinstance(test, ast.Compare):
            known = self.evaluate(test.left).data or any(self.evaluate(other).data for other in test.comparators)
            if isinstance(test.ops[0], ast.Is | ast.IsNot):
                return (("maybe",) if MASK.search(text) else ("none",)) if known else ()
            if isinstance(test.ops[0], ast.In | ast.NotIn):
                return ("omit",) if self.evaluate(test.comparators[0]).data else ()
            if re.search(r"(mask|valid|present|avail|count|num|label|weight).*\b0", text) and known:
                return ("skip",)
            return ("zero",) if known and LOSS.search(text) and re.search(r"\b0(\.0*)?$|\be-", text) else ()
        return ("skip",) if re.search(r"mask|valid|present|avail|label", text) and self.evaluate(test).data else ()

    def _over_the_present(self, over: ast.expr) -> tuple[str, ...]:
        """A loop over the losses that were handed in leaves out what is not among them."""
        here = isinstance(over, ast.Call) and called(over) == "items" and self.evaluate(over).data
        return ("omit",) if here and LOSS.search(ast.unparse(over)) else ()

    # ---- expressions

    def evaluate(self, node: ast.AST | None) -> Value:
        """What is known of an expression's value."""
        self.steps[0] -= 1
        if node is None or self.steps[0] < 0:
            return NUMBER
        match node:
            case ast.Constant():
                return NUMBER
            case ast.Name() | ast.Attribute():
                return self._named(node)
            case ast.Subscript(value=value):
                return self.evaluate(value)
            case ast.BinOp(left=left, op=op, right=right):
                return self._operate(op, self.evaluate(left), self.evaluate(right), node)
            case ast.UnaryOp(op=op, operand=operand):
                inner = self.evaluate(operand)
                return inner.done("minus") if isinstance(op, ast.USub) else inner
            case ast.Call():
                return self._call(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                with self._guarded(*self._guard(test)):
                    chosen = self.evaluate(body)
                return chosen | self.evaluate(orelse)
            case ast.List(elts=elts) | ast.Tuple(elts=elts) | ast.Set(elts=elts):
                parts = tuple(map(self.evaluate, elts))
                return replace(either(parts), parts=parts)
            case ast.Dict(values=values):
                return either(map(self.evaluate, values))
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp() | ast.DictComp():
                return self._comprehension(node)
            case ast.NamedExpr(target=target, value=value):
                got = self.evaluate(value)
                self._set(target, got)
                return got
            case ast.Compare() | ast.BoolOp():
                sides = (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))
                inside = either(map(self.evaluate, sides))
                return DATA if inside.data or inside.learned else NUMBER
            case ast.Starred(value=value) | ast.Await(value=value):
                return self.evaluate(value)
            case _:
                return NUMBER

    def _named(self, node: ast.Name | ast.Attribute) -> Value:
        text = _text(node)
        if text in self.env:
            return self.env[text]
        if isinstance(node, ast.Name):
            return NUMBER
        base = self.evaluate(node.value)
        if node.attr in DETACHED:
            return DATA if base.data else NUMBER
        if node.attr in self.names.attributes and _text(node.value) != "self":
            return Value(learned=frozenset((text,)))
        if _text(node.value) == "self":
            kept = LOSS.search(node.attr) and not re.search(r"weight|coef|names?$|fn$|lambda", node.attr)
            return DATA if kept else NUMBER
        return DATA if base.data else NUMBER

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp) -> Value:
        with self._guarded():
            for generator in node.generators:
                self._bind(generator.target, generator.iter)
                tests = (guard for test in generator.ifs for guard in self._guard(test))
                self.guards = (*self.guards, *self._over_the_present(generator.iter), *tests)
            return self.evaluate(node.value if isinstance(node, ast.DictComp) else node.elt)

    def _operate(self, op: ast.operator, left: Value, right: Value, node: ast.AST) -> Value:
        if isinstance(op, ast.Add | ast.Sub):
            return left + right
        if isinstance(op, ast.Mult | ast.Div | ast.MatMult):
            right = right.done("over") if isinstance(op, ast.Div) else right
            for factor, other in ((left, right), (right, left)):
                if factor.learned and other.data:
                    self._weigh(factor, node)
                if other.data:
                    self._mask(factor, node)
            sides = (node.left, node.right) if isinstance(node, ast.BinOp) and isinstance(op, ast.Mult) else ()
            twice = any(ast.unparse(side).strip("-").startswith("2") for side in sides)
            return (left * right).done(*(("twice",) if twice else ()))
        if left.data or right.data:
            return DATA
        return left.done("square") | right if isinstance(op, ast.Pow) else left | right

    def _mask(self, terms: Value, node: ast.AST) -> None:
        """A mask on whole terms guards them, unless it is there in some calls only."""
        sides = (ast.unparse(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))
        texts = [text for side in sides for text in (re.sub(r"\(.*\)", "()", side), side) if len(text) < 60]
        compared = "zero" if any(re.search(r"(!=|>) 0", text) for text in texts) else ""
        kind = "mask" if any(map(MASK.search, texts)) else compared
        maybe = "maybe" in self.guards or self.optional & set(re.findall(r"\w+", " ".join(texts)))
        for parameter in terms.met if kind and not maybe else ():
            self.found.guards.setdefault(parameter, set()).add(kind)

    def _weigh(self, factor: Value, node: ast.AST) -> None:
        words = " ".join((self.following, ast.unparse(node), self.place.name, *map(_described, self.calls)))
        squares = re.search(r"\*\* ?2|square|pow\(", words)
        sounds = bool(LOSS.search(words) or squares or factor.ops & {"exp", "softplus"})
        masked = {"masked loss"} if MASKED.search(ast.unparse(node)) else set()
        guards = frozenset(self.guards) - {"maybe"} | masked
        for parameter in factor.learned if factor.ops else ():  # a bare factor is a scale or a temperature
            weighing = Weighing(self.place, getattr(node, "lineno", 1), form(factor), guards, sounds)
            self.found.weighings.setdefault(parameter, []).append(weighing)

    def _noted(self, value: Value) -> Value:
        """Remember the parameters that both weigh and are added in this value."""
        self.found.regularised |= value.met
        return value

    def _call(self, node: ast.Call) -> Value:
        name = self.aliases.get(_text(node.func), called(node))
        receiver = self.evaluate(node.func.value) if isinstance(node.func, ast.Attribute) else NUMBER
        arguments = [self.evaluate(argument) for argument in node.args]
        named = {keyword.arg or "**": self.evaluate(keyword.value) for keyword in node.keywords}
        met = either([receiver, *arguments, *named.values()])
        if name in DETACHED or name in MAKERS:
            return DATA if met.data and name not in MAKERS else NUMBER
        if name in OPERATORS:
            sides = [receiver, *arguments] if receiver.data or receiver.learned else arguments
            if len(sides) > 1:
                value = self._noted(self._operate(OPERATORS[name], sides[0], sides[1], node))
                if name.endswith("_") and isinstance(node.func, ast.Attribute):  # in place
                    self.env[_text(node.func.value)] = value
                return value
        if name in FUNCTIONS:
            return DATA if met.data else met.done(FUNCTIONS[name])
        if name in ("append", "extend", "insert") and isinstance(node.func, ast.Attribute):
            self._append(_text(node.func.value), node.args, receiver, met)
            return NUMBER
        if name == "register_parameter" and len(node.args) > 1 and isinstance(node.args[0], ast.Constant):
            self._learn(f"self.{node.args[0].value!s}")
            return NUMBER
        followed = self._follow(node, name, arguments, named, met)
        if followed is not None:
            return followed
        if name in KEEPS:
            if name == "where":
                self._mask(met, node)
            summed = name in SUMS and node.args and isinstance(node.args[0], ast.List | ast.Tuple)
            return total([receiver, *arguments[0].parts]) if summed else met
        made = met.learned or name in CONSTANTS or _root(node.func) in ("np", "math")
        return met if made and not met.data else DATA

    def _append(self, holder: str, added: Sequence[ast.expr], receiver: Value, met: Value) -> None:
        if any(map(learned, added)):
            self._learn(holder)
        else:
            self.env[holder] = self._noted(receiver + met if LOSS.search(holder) else receiver | met)

    def _follow(
        self, node: ast.Call, name: str, arguments: list[Value], named: dict[str, Value], met: Value
    ) -> Value | None:
        """What a function, method or class of the repository makes of these arguments, if that may matter."""
        if len(self.calls) >= DEEPEST or self.steps[0] < 0:
            return None
        if self.owner is not None and _text(node.func) == f"self.{name}":
            own = (item for item in self.owner.body if isinstance(item, Function) and item.name == name)
            return next((self._function(item, arguments, named) for item in own if item not in self.calls), None)
        if not (met.weighs or any(value.learned for value in (met, *arguments, *named.values()))):
            return None
        for source, function in self.names.function(name, self.place.source):
            if function not in self.calls and name not in KEEPS:
                inner = self._inside(Place(source, function), {}, function)
                inner.owner = None
                return inner._function(function, arguments, named)
        for source, made in self.names.class_named(name, self.place.source):
            if made not in self.calls:
                self._inside(Place(source, made), {}, made).of_class(made, arguments, named)
        return None


def _defaults(node: Function) -> dict[str, ast.expr | None]:
    """Each argument but ``self``, in order, and its default."""
    positional = [*node.args.posonlyargs, *node.args.args]
    none: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
    pairs = zip([*positional, *node.args.kwonlyargs], [*none, *node.args.defaults, *node.args.kw_defaults], strict=True)
    return {item.arg: default for item, default in pairs if item.arg not in ("self", "cls")}


def _described(scope: Scope) -> str:
    """Name of a function or class, and of its arguments."""
    names = [*_defaults(scope), getattr(scope.args.vararg, "arg", "")] if isinstance(scope, Function) else []
    return " ".join((getattr(scope, "name", ""), *names))


def _text(node: ast.expr) -> str:
    """Name of a variable, subscripts left out: ``self.log_vars`` of ``self.log_vars[0]``."""
    if isinstance(node, ast.Subscript):
        return _text(node.value)
    if isinstance(node, ast.Attribute):
        return f"{_text(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else f"<{type(node).__name__}>"


def _root(node: ast.expr) -> str:
    return _text(node).partition(".")[0]
