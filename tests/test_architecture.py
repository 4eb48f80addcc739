"""The house as CONTRIBUTING tells of it: who imports whom, who knows backends and Keras' insides."""

import ast
import functools
import sys
from collections import defaultdict
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_backend("reads source files")

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keraslip"
#: Folders and files of the package from the ground up: each imports from those before it alone. Those in one
#: line stand side by side.
FLOORS = """
    version lazy lockless files loss_names typing progress console_backend input_range
    checks
    arithmetic
    linear activations
    bounds
    rules
    backend
    layers schedules
    losses
    attacks
    certify
    export
    models
    applications callbacks convert datasets distribution plots testing
    tuning
    registered
    cli
    __main__
"""
#: The same inside certify/, rooms and files; what stands there besides is the public face.
ROOMS = """
    norms
    operators
    bound
    execution
    result
    run
    check
"""
#: Where a backend's name may stand in code.
BACKENDS = {
    "backend", "cli/app.py", "cli/quiet.py", "console_backend.py",
    "datasets/quiet.py", "export", "models/train_step", "rules/code.py",
}  # fmt: skip
#: Names of Keras' private interface, and the files that use them.
PRIVATE = {
    "_aggregate_additional_loss": {"models/robust_step.py"},
    "_assert_compile_called": {"models/batches.py", "models/local_lipschitz_model.py"},
    "_call_context_args": {"rules/walk.py"},
    "_distribute_strategy": {"models/train_step/tensorflow.py"},
    "_distributed_dataset": {"models/train_step/tensorflow.py"},
    "_flatten_layers": {
        "certify/execution/precision.py", "convert/conversion.py", "export/own_code.py",
        "models/float32_copy.py", "models/saving.py", "models/state.py", "rules/derived.py",
        "rules/signature.py",
    },
    "_fn": {"models/labels.py"},
    "_forward_hooks": {"backend/torch.py"},
    "_forward_pre_hooks": {"backend/torch.py"},
    "_functional": {"rules/walk.py"},
    "_get_metrics_result_or_logs": {"models/batches.py", "models/train_step/torch.py"},
    "_global_forward_hooks": {"backend/torch.py"},
    "_global_forward_pre_hooks": {"backend/torch.py"},
    "_keras_history": {"rules/bounded.py", "rules/registry.py"},
    "_kernel": {"layers/almost_orthogonal.py"},
    "_layers": {"rules/signature.py"},
    "_loss_tracker": {"models/robust_step.py"},
    "_maybe_symbolic_build": {"models/train_step/tensorflow.py"},
    "_nodes_by_depth": {"cli/saved.py", "rules/walk.py"},
    "_optimizer_experimental_options": {"backend/tensorflow.py"},
    "_symbolic_build": {"models/train_step/tensorflow.py"},
    "_trainable_variables": {"models/fresh.py"},
}  # fmt: skip
#: What is called of other packages, or reads and imports, while a module is imported: the command's options,
#: and which backend is active.
AT_IMPORT = {
    "import_module",
    "keras.backend.backend",
    "typer.Argument",
    "typer.Option",
    "typer.Typer",
}
WORK = {"__import__", "compile", "eval", "exec", "import_module", "input", "open", "print"}
#: File names that a folder may hold twice: one file for each backend, and one for each kind of map.
TWICE = {"jax", "tensorflow", "torch", "convolution", "dense"}


@functools.cache
def modules():
    """Syntax trees by dotted name, without `keraslip.`, and whether it is a folder's own file."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text())
    # The link is followed or not, as Python pleases.
    for path in (PACKAGE / "applications").glob("*.py"):
        name = f"applications.{path.stem}" if path.stem != "__init__" else "applications"
        found[name] = ast.parse(path.read_text())
    return found


def file_of(name):
    return f"{name.replace('.', '/')}.py"


def only_types(tree):
    """Nodes that type checkers alone read."""
    blocks = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)
    ]
    return {id(node) for block in blocks for part in block.body for node in ast.walk(part)}


@functools.cache
def imports():
    """Modules of keraslip that each module imports, inside functions too."""
    known, found = modules(), {}
    for name, tree in known.items():
        skipped, targets = only_types(tree), set()
        for node in ast.walk(tree):
            if id(node) in skipped:
                continue
            if isinstance(node, ast.Import):
                targets |= {a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{name} imports by a relative name"
                targets |= {f"{node.module}.{a.name}" for a in node.names}
        found[name] = {_module(t.removeprefix("keraslip."), known) for t in targets if _own(t)}
    return found


def _own(target):
    return target.split(".")[0] == "keraslip" and target != "keraslip"


def _module(target, known):
    """The module that a dotted name is, or is in."""
    while target not in known and "." in target:
        target = target.rpartition(".")[0]
    return target


def floors(text):
    return {name: i for i, line in enumerate(text.split("\n")) for name in line.split()}


def upwards(edges, level, of):
    """Imports that do not go down, as sentences."""
    for name, targets in sorted(edges.items()):
        for target in sorted(targets):
            one, other = of(name), of(target)
            if one == other or one is None or other is None:
                continue
            assert one in level and other in level, f"say where {one} and {other} stand"
            if level[other] >= level[one]:
                yield f"{name} imports {target}, which does not stand below it"


def test_imports_go_down():
    level = floors(FLOORS)
    # The package itself shows names of every floor; its own files read its version there.
    edges = {name: targets for name, targets in imports().items() if name}

    def folder(name):
        return name.split(".")[0] if name and name != "__version__" else None

    assert not list(upwards(edges, level, folder))


def test_rooms_of_certify_stand_on_each_other():
    def room(name):
        parts = name.split(".")
        return parts[1] if parts[0] == "certify" and len(parts) > 1 else None

    assert not list(upwards(imports(), floors(ROOMS), room))
    # It is kept and read alone.
    assert not imports()["certify.check"]


def test_an_import_upwards_is_seen():
    level = floors("ground\nfirst second\ntop")
    edges = {"first.a": {"ground.b", "second.c"}, "top.d": {"first.a"}, "ground.b": {"top.d"}}
    found = list(upwards(edges, level, lambda name: name.split(".")[0]))
    assert [line.split(",")[0] for line in found] == [
        "first.a imports second.c",
        "ground.b imports top.d",
    ]


def circle(edges):
    """Modules that import each other, the first ones that are found."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return None
        path.append(name)
        for target in sorted(edges.get(name, ())):
            if target != name and (found := visit(target)):
                return found
        done.add(path.pop())
        return None

    return next((found for name in sorted(edges) if (found := visit(name))), None)


def test_no_modules_import_each_other():
    """Not inside functions either, but for a folder's own file, which shows what is in it."""
    faces = {name for name in modules() if any(m.startswith(f"{name}.") for m in modules())} | {""}
    edges = {
        name: {target for target in targets if target not in faces}
        for name, targets in imports().items()
        if name not in faces
    }
    assert circle(edges) is None
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]


def docstrings(tree):
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    owners = [node for node in ast.walk(tree) if isinstance(node, kinds) and node.body]
    return {id(owner.body[0].value) for owner in owners if isinstance(owner.body[0], ast.Expr)}


def names_a_backend(tree):
    """Whether code imports a backend, or has its name in a string that is no docstring."""
    words, prose = set(), docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            words |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            words.add(node.module.split(".")[0])
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
        ):
            words |= set(node.value.split())
    return bool(words & {"tensorflow", "jax", "torch"})


def test_backends_are_named_where_they_may_be():
    found = {file_of(name) for name, tree in modules().items() if names_a_backend(tree)}
    inside = {part for part in BACKENDS if not part.endswith(".py")}
    strange = {
        file
        for file in found
        if file not in BACKENDS
        and not any(f"{file[:-3]}/".startswith(f"{part}/") for part in inside)
    }
    assert not strange
    assert names_a_backend(ast.parse("import torch.nn")) and names_a_backend(ast.parse("x = 'jax'"))
    assert not names_a_backend(ast.parse('"""On torch."""'))


def private_names(trees):
    """Private attributes that no code of these modules defines, and the modules that use them."""
    own, used = set(), defaultdict(set)
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                # What calls the same of a class above it defines nothing new.
                if f"super().{node.name}(" not in ast.unparse(node):
                    own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Attribute):
                # An attribute set on another object may be that object's.
                is_own = isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
                (own.add if is_own else used[name].add)(node.attr)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "getattr",
                "hasattr",
                "setattr",
            ):
                used[name].add(getattr(node.args[1], "value", ""))
    found = defaultdict(set)
    for module, names in used.items():
        for name in names:
            private = isinstance(name, str) and name[:1] == "_" != name[1:2]
            if private and name not in own | {"_keraslip"}:  # which is ours on Keras' objects
                found[name].add(file_of(module))
    return dict(found)


def test_private_names_of_keras_are_listed():
    assert private_names(modules()) == PRIVATE
    code = "class A:\n    def _own(self): return self._own() + self.model._theirs + super()._own()"
    code += "\n    def go(self): self._mine = self.model._theirs = 1"
    assert private_names({"a": ast.parse(code)}) == {"_theirs": {"a.py"}, "_own": {"a.py"}}


def work_at_import(tree):
    """What is called when a module is imported, of other packages and of what reads, writes or imports."""
    skipped, names = only_types(tree), set(WORK)
    top = [part for part in tree.body if not isinstance(part, ast.FunctionDef | ast.ClassDef)]
    for part in top:
        if isinstance(part, ast.Import | ast.ImportFrom):
            origin = part.module if isinstance(part, ast.ImportFrom) else part.names[0].name
            if origin.split(".")[0] not in {*sys.stdlib_module_names, "keraslip"}:
                names |= {(a.asname or a.name).split(".")[0] for a in part.names}
    calls = [
        n
        for part in top
        for n in ast.walk(part)
        if isinstance(n, ast.Call) and id(n) not in skipped
    ]
    called = {ast.unparse(call.func) for call in calls}
    return {name for name in called if name.split(".")[0].split("(")[0] in names}


def test_nothing_works_at_import():
    for name, tree in modules().items():
        assert not work_at_import(tree) - AT_IMPORT, name
    code = "import keras\nx = [keras.layers.Dense(2)]\nopen('a').read()\ndef f(): print(1)\n"
    assert work_at_import(ast.parse(code)) == {"keras.layers.Dense", "open", "open('a').read"}


def test_no_file_name_stands_twice_in_a_folder():
    places = defaultdict(list)
    for name in modules():
        folder, _, rest = name.partition(".")
        if rest and name.rpartition(".")[2] not in TWICE:
            places[folder, name.rpartition(".")[2]].append(name)
    assert not [names for names in places.values() if len(names) > 1]
