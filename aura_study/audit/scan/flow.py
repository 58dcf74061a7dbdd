"""Data flow of losses and learned parameters through classes and functions.

Every class and function is walked once, statement by statement, on values of `aura_study.audit.scan.values`; what is
called with a learned parameter is followed, within the repository. Branches are all taken, loops once.
"""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aura_study.audit.scan.names import MAKERS, Function, Names, called, learned
from aura_study.audit.scan.sources import Source
from aura_study.audit.scan.values import DATA, LOSS, NUMBER, Value, either, form, total

Scope = Function | ast.ClassDef | ast.Module
DEEPEST = 4
"""Calls that are followed within each other."""
MOST_STEPS = 300_000
"""Expressions that are walked for one class or function, calls included."""
CONSTANTS = frozenset(
    (
        *(
            "tensor",
            "zeros",
            "ones",
            "full",
            "empty",
            "float",
            "int",
            "len",
            "range",
            "arange",
            "eye",
            "constant",
            "max",
            "min",
        ),
        *("new_zeros", "new_tensor", "zeros_like", "ones_like", "FloatTensor", "Tensor", "linspace", "sorted", "set"),
    )
)
SETTINGS = re.compile(
    r"^(args?|cfg|config|opt|opts|hparams|flags|hp|np|math|torch|tf|F|K|nn|jnp|self)$|^[A-Z][A-Z_0-9]+$"
)
HANDED = re.compile(r"_?loss(es)?(_list|_dict|_tensors)?")
"""What a constructor is handed that is no setting."""
MASK = re.compile(r"mask|valid|present|avail|flag|indicator|active", re.I)
MASKED = re.compile(r"(mask|valid|present|avail)\w*(\[[^]]*\])? \*|\* \(?(self\.)?(mask|valid|present|avail)")
"""A loss of which a mask leaves nothing where its task is absent."""
SUMS = frozenset(("sum", "stack", "cat", "concat", "concatenate", "add_n", "reduce_sum", "fsum", "reduce_mean", "mean"))
KEEPS = SUMS | frozenset(
    (
        *(
            "squeeze",
            "unsqueeze",
            "view",
            "reshape",
            "to",
            "cuda",
            "cpu",
            "float",
            "double",
            "half",
            "list",
            "tuple",
            "dict",
        ),
        *(
            "values",
            "items",
            "get",
            "type",
            "type_as",
            "expand",
            "expand_as",
            "clone",
            "contiguous",
            "nansum",
            "nanmean",
        ),
        *("zip", "enumerate", "reversed", "clamp", "clip", "abs", "relu", "maximum", "minimum", "where", "nan_to_num"),
        *("flatten", "item_", "as_tensor", "convert_to_tensor", "cast", "keys", "pop", "copy", "prod", "identity"),
    )
)
FUNCTIONS = {
    **dict.fromkeys(("exp", "exp_", "sigmoid", "expm1"), "exp"),
    **dict.fromkeys(("log", "log1p", "log_", "logsumexp", "log2"), "log"),
    **dict.fromkeys(("pow", "square", "pow_"), "square"),
    **dict.fromkeys(("reciprocal", "rsqrt"), "over"),
    **dict.fromkeys(("softplus", "Softplus"), "softplus"),
    **dict.fromkeys(("sqrt", "tanh", "softmax", "norm", "elu"), "other"),
}
OPERATORS: Mapping[str, type[ast.operator]] = {
    **dict.fromkeys(("mul", "multiply", "mul_", "dot", "matmul"), ast.Mult),
    **dict.fromkeys(("div", "divide", "true_divide", "div_", "truediv"), ast.Div),
    **dict.fromkeys(("add", "add_"), ast.Add),
    **dict.fromkeys(("sub", "subtract", "sub_"), ast.Sub),
}
DETACHED = frozenset(("item", "detach", "numpy", "tolist", "data", "shape", "device", "dtype", "stop_gradient", "grad"))


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
        self.aliases: dict[str, str] = {}
        self.optional: frozenset[str] = frozenset()

    # ---- classes and functions

    def of_class(
        self, node: ast.ClassDef, arguments: Sequence[Value] = (), named: Mapping[str, Value] | None = None
    ) -> None:
        """The class's methods, its constructor first, so that ``self`` is known to the others."""
        for base in node.bases:
            for source, parent in self._nearest(self.names.classes.get(called(base), [])):
                if parent is not node and parent not in self.calls:
                    inner = self._inside(Place(source, parent), self.env, parent)
                    inner.of_class(parent)
        methods = [item for item in node.body if isinstance(item, Function)]
        self.statements([item for item in node.body if isinstance(item, ast.Assign | ast.AnnAssign)])
        self.env |= {f"self.{key}": value for key, value in self.env.items() if value.learned and "." not in key}
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
        local = dict(self.env.items())
        positional, keywords = [*node.args.posonlyargs, *node.args.args], node.args.kwonlyargs
        defaults: dict[str, ast.expr | None] = dict(
            zip((item.arg for item in reversed(positional)), reversed(node.args.defaults), strict=False)
        )
        defaults |= {item.arg: default for item, default in zip(keywords, node.args.kw_defaults, strict=True)}
        bound = [item.arg for item in (*positional, *keywords) if item.arg not in ("self", "cls")]
        for at, name in enumerate(bound):
            given = named.get(name) or (arguments[at] if at < len(arguments) else None)
            setting = (number and not HANDED.fullmatch(name)) or getattr(defaults.get(name), "value", None) is not None
            local[name] = given if given is not None else NUMBER if setting or SETTINGS.match(name) else DATA
        for star in (node.args.vararg, node.args.kwarg):
            if star is not None:
                rest = arguments[len(bound) :]
                local[star.arg] = either(rest) if rest else NUMBER if number else DATA
        inner = self._inside(self.place if self.owner else Place(self.place.source, node), local, node)
        inner.owner = self.owner
        inner.optional = frozenset(name for name in bound if getattr(defaults.get(name), "value", 0) is None)
        inner.statements(node.body)
        self.env |= {key: value for key, value in inner.env.items() if key.startswith("self.")}
        return inner.returned[0] if len(inner.returned) == 1 else either(inner.returned)

    # ---- statements

    def statements(self, body: Iterable[ast.stmt]) -> None:
        """One after the other; an early ``continue`` guards what comes after it."""
        before = self.guards
        for node in body:
            self.statement(node)
            if isinstance(node, ast.If) and node.body and isinstance(node.body[-1], ast.Continue | ast.Return):
                self.guards = (*self.guards, *self._guard(node.test))
        self.guards = before

    def statement(self, node: ast.stmt) -> None:
        """One statement, and the blocks in it."""
        match node:
            case ast.Assign(targets=targets, value=value):
                self._assign(targets, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign([target], value)
            case ast.AugAssign(target=target, op=op, value=value):
                if isinstance(op, ast.Add) and learned(value):
                    self._set(target, Value(learned=frozenset((_text(target),))))
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
                outside = self.guards
                self.guards = (*outside, *self._over_the_present(over))
                self.statements(body)
                self.guards = outside
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
        before, guards = dict(self.env), self.guards
        self.guards = (*guards, *self._guard(test))
        self.statements(body)
        after, self.env, self.guards = self.env, dict(before), guards
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
                self.env[_text(target)] = Value(learned=frozenset((_text(target),)))
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
            base = _text(target.value)
            self.env[base] = Value(learned=frozenset((base,)))
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
        elif name in ("items", "named_parameters") and len(parts) == 2:
            self._set(parts[0], NUMBER)
            self._set(parts[1], self.evaluate(over))
        else:
            self._set(target, NUMBER if name in ("range", "keys") else self.evaluate(over))

    # ---- guards

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
        return (
            ("skip",)
            if re.search(r"(mask|valid|present|avail|label).*(any|sum|item|bool|\[|$)", text)
            and self.evaluate(test).data
            else ()
        )

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
                before, self.guards = self.guards, (*self.guards, *self._guard(test))
                chosen = self.evaluate(body)
                self.guards = before
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
                inside = either(
                    self.evaluate(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)
                )
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
            return (
                DATA
                if LOSS.search(node.attr) and not re.search(r"weight|coef|names?$|fn$|lambda", node.attr)
                else NUMBER
            )
        return DATA if base.data else NUMBER

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp) -> Value:
        before = self.guards
        for generator in node.generators:
            self._bind(generator.target, generator.iter)
            tests = (guard for test in generator.ifs for guard in self._guard(test))
            self.guards = (*self.guards, *self._over_the_present(generator.iter), *tests)
        value = self.evaluate(node.value if isinstance(node, ast.DictComp) else node.elt)
        self.guards = before
        return value

    def _operate(self, op: ast.operator, left: Value, right: Value, node: ast.AST) -> Value:
        if isinstance(op, ast.Add | ast.Sub):
            return left + right
        if isinstance(op, ast.Mult | ast.Div | ast.MatMult):
            if isinstance(op, ast.Div):
                right = right.done("over")
            for factor, other in ((left, right), (right, left)):
                if factor.learned and other.data:
                    self._weigh(factor, node)
                if other.data:
                    self._mask(factor, node)
            twice = isinstance(node, ast.BinOp) and any(
                ast.unparse(side).strip("-").startswith("2") for side in (node.left, node.right)
            )
            value = left * right
            return value.done("twice") if twice and isinstance(op, ast.Mult) else value
        if isinstance(op, ast.Pow):
            return DATA if left.data or right.data else left.done("square") | right
        return DATA if left.data or right.data else left | right

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
        method = isinstance(node.func, ast.Attribute)
        receiver = self.evaluate(node.func.value) if isinstance(node.func, ast.Attribute) else NUMBER
        arguments = [self.evaluate(argument) for argument in node.args]
        named = {keyword.arg or "**": self.evaluate(keyword.value) for keyword in node.keywords}
        everything = [receiver, *arguments, *named.values()]
        met = either(everything)
        if name in DETACHED or name in MAKERS:
            return DATA if met.data and name not in MAKERS else NUMBER
        if (
            name in OPERATORS
            and (sides := ([receiver] if method and (receiver.data or receiver.learned) else []) + arguments)[1:]
        ):
            value = self._noted(self._operate(OPERATORS[name](), sides[0], sides[1], node))
            return self._stored(node, value) if name.endswith("_") else value
        if name in FUNCTIONS:
            return DATA if met.data else met.done(FUNCTIONS[name])
        if name in ("append", "extend", "insert") and isinstance(node.func, ast.Attribute):
            holder = _text(node.func.value)
            if any(map(learned, node.args)):
                value = Value(learned=frozenset((holder,)))
            else:
                value = receiver + met if LOSS.search(holder) else receiver | met
            self.env[holder] = self._noted(value)
            return NUMBER
        if name == "register_parameter" and len(node.args) > 1 and isinstance(node.args[0], ast.Constant):
            parameter = f"self.{node.args[0].value!s}"
            self.env[parameter] = Value(learned=frozenset((parameter,)))
            return NUMBER
        followed = self._follow(node, name, arguments, named, met)
        if followed is not None:
            return followed
        if name in KEEPS:
            if name in ("where", "mul", "multiply"):
                self._mask(met, node)
            if name in SUMS and arguments and isinstance(node.args[0], ast.List | ast.Tuple):
                return total([receiver, *map(self.evaluate, node.args[0].elts)])
            return met
        return (
            met if not met.data and (met.learned or name in CONSTANTS or _root(node.func) in ("np", "math")) else DATA
        )

    def _stored(self, node: ast.Call, value: Value) -> Value:
        if isinstance(node.func, ast.Attribute):
            self.env[_text(node.func.value)] = value
        return value

    def _follow(
        self, node: ast.Call, name: str, arguments: list[Value], named: dict[str, Value], met: Value
    ) -> Value | None:
        """What a function, method or class of the repository makes of these arguments, if that may matter."""
        if len(self.calls) >= DEEPEST or self.steps[0] < 0:
            return None
        carries = bool(met.learned or met.weighs)
        carries |= any(value.learned for value in (*arguments, *named.values()))
        if (
            isinstance(node.func, ast.Attribute)
            and _text(node.func.value) == "self"
            and self.owner is not None
            and name == called(node)
        ):
            for item in self.owner.body:
                if isinstance(item, Function) and item.name == name and item not in self.calls:
                    return self._function(item, arguments, named)
            return None
        if not carries:
            return None
        for source, function in self._nearest(self.names.functions.get(name, [])):
            if function not in self.calls and name not in KEEPS:
                return (
                    self._inside(Place(source, function), {}, function)._alone()._function(function, arguments, named)
                )
        for source, made in self._nearest(self.names.classes.get(name, [])):
            if made not in self.calls:
                self._inside(Place(source, made), {}, made).of_class(made, arguments, named)
        return None

    def _nearest(self, defined: "Sequence[tuple[Source, Any]]") -> "Sequence[tuple[Source, Any]]":
        """The definition of a name in this file, or the first of another."""
        return sorted(defined, key=lambda item: item[0] is not self.place.source)[:1]

    def _alone(self) -> "Walk":
        self.owner = None
        return self


def _described(scope: Scope) -> str:
    """Name of a function or class, and of its arguments."""
    arguments = scope.args if isinstance(scope, Function) else None
    names = (
        [item.arg for item in (*arguments.args, *arguments.kwonlyargs, arguments.vararg) if item] if arguments else []
    )
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
