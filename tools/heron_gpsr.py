#!/usr/bin/env python3
"""Robot commands of the RoboCup@Home GPSR generators as heron evaluation cases.

The generators' grammars (2018, 2019, 2021) are read where they lie and never copied into the project. Each grammar is
expanded down to its {placeholders}; the meaning comes from the table below, our own, which maps the shapes that
action.schema.json can express; everything else ("the biggest object", "the person wearing a hat", "introduce her") is
left out and counted. Placeholders are filled from the generators' own names, locations, objects and messages.

    tools/heron_gpsr.py DIR > gpsr.jsonl        DIR holds generator2018, generator2019, generator2021
"""
import argparse, json, pathlib, random, re, sys
import xml.etree.ElementTree as xml

SOURCES = [("generator2018", [f"gpsr_category_{n}_grammar.txt"]) for n in (1, 2, 3)] + [
    ("generator2019", ["gpsr.txt"]), ("generator2021", ["gpsr.txt"])]
EXPANSIONS_MAX = 40_000  # a grammar; the verbs alone multiply to thousands

# Shapes: a regular expression over the expanded command with its placeholders, and the action as a chain of steps.
# {o} object, {p} place, {n} person, {w} what to say; a digit tells two apart.
GO, FIND, MEET = "(?:go|navigate)", "(?:find|locate|look for)", "(?:meet)"
TAKE, PUT, BRING = "(?:get|grasp|take|pick up|retrieve)", "(?:put|place)", "(?:bring|give|deliver)"
GUIDE, FOLLOW = "(?:guide|escort|take|lead)", "(?:follow|follow behind|follow after|trail)"
PRON, SOMEONE = "(?P<it>him|her|them|it)", "(?:a person|someone)"
TELL = "(?:tell them|tell|say)"
AT = "(?:at|in|on)"
SHAPES = [
    (f"{BRING} me the {{o}}(?: from the {{p}})?", [("bring", "what=o from=p to=me")]),
    (f"{BRING} the {{o}} here", [("bring", "what=o to=here")]),
    (f"{BRING} (?:the )?{{o}} to me", [("bring", "what=o to=me")]),
    (f"{BRING} the {{o}} to {{n}} at the {{p}}", [("bring", "what=o at=p to=n")]),
    (f"{BRING} to {{n}} at the {{p}} the {{o}} from the {{p2}}", [("bring", "what=o from=p2 at=p to=n")]),
    (f"(?:bring|take|carry) the {{o}} from the {{p}} to the {{p2}}", [("bring", "what=o from=p to=p2")]),
    (f"(?:bring|take|carry) the {{o}} to the {{p}}", [("bring", "what=o to=p")]),
    (f"(?:bring|take|carry) my (?P<bag>[a-z ]+) to the (?P<car>[a-z]+)", [("bring", "what=bag to=car")]),
    (f"{PUT} the {{o}} on the {{p}}", [("put", "what=o at=p")]),
    (f"{TAKE} the {{o}}(?: from the {{p}})? and {PUT} it on the {{p2}}",
     [("pick", "what=o from=p"), ("put", "what=it at=p2")]),
    (f"{TAKE} the {{o}} from the {{p}} and {BRING} it to me", [("pick", "what=o from=p"), ("bring", "what=it to=me")]),
    (f"{TAKE} the {{o}} from the {{p}} and {BRING} it to {{n}} at the {{p2}}",
     [("pick", "what=o from=p"), ("bring", "what=it at=p2 to=n")]),
    (f"{GO} to the {{p}}, {FIND} the {{o}}, and {BRING} it to me",
     [("goto", "to=p"), ("search", "what=o"), ("bring", "what=it to=me")]),
    (f"{GO} to the {{p}}, {FIND} the {{o}}, and {BRING} it to {{n}} at the {{p2}}",
     [("goto", "to=p"), ("search", "what=o"), ("bring", "what=it at=p2 to=n")]),
    (f"{GO} to the {{p}}, {FIND} the {{o}}, and {PUT} it on the {{p2}}",
     [("goto", "to=p"), ("search", "what=o"), ("put", "what=it at=p2")]),
    (f"{GO} to the {{p}}", [("goto", "to=p")]),
    (f"{FIND} the {{o}} in the {{p}}", [("search", "what=o at=p")]),
    (f"{FIND} three {{o}} in the {{p}}", [("search", "n=3 what=o at=p")]),
    (f"tell me how many {{o}} there are on the {{p}}", [("count", "what=o at=p")]),
    (f"(?:say|tell) {{w}} to {{n}} at the {{p}}", [("say", "text=w at=p to=n")]),
    (f"{FIND} {SOMEONE} in the {{p}} and tell them {{w}}", [("search", "what=person at=p"), ("say", "text=w to=them")]),
    (f"{FIND} {SOMEONE} in the {{p}} and say {{w}}", [("search", "what=person at=p"), ("say", "text=w")]),
    (f"{FIND} {{n}} in the {{p}} and say {{w}}", [("search", "what=n at=p"), ("say", "text=w")]),
    (f"{GO} to the {{p}}, {FIND} {SOMEONE}, and tell them {{w}}",
     [("goto", "to=p"), ("search", "what=person"), ("say", "text=w to=them")]),
    (f"{GO} to the {{p}}, {FIND} {SOMEONE}, and say {{w}}",
     [("goto", "to=p"), ("search", "what=person"), ("say", "text=w")]),
    (f"{GO} to the {{p}}, {FIND} {{n}}, and say {{w}}", [("goto", "to=p"), ("search", "what=n"), ("say", "text=w")]),
    (f"{FOLLOW} {{n}}", [("follow", "what=n")]),
    (f"{FOLLOW} {{n}} from the {{p}} to the {{p2}}", [("follow", "what=n from=p to=p2")]),
    (f"{MEET} {{n}} at the {{p}} and {FOLLOW} {PRON}(?: to the {{p2}})?",
     [("meet", "what=n at=p"), ("follow", "what=it to=p2")]),
    (f"{GO} to the {{p}}, {MEET} {{n}}, and {FOLLOW} {PRON}",
     [("goto", "to=p"), ("meet", "what=n"), ("follow", "what=it")]),
    (f"{GUIDE} {{n}} from the {{p}} to the {{p2}}", [("escort", "what=n from=p to=p2")]),
    (f"{GUIDE} {{n}} to the {{p}}", [("escort", "what=n to=p")]),
    (f"{MEET} {{n}} at the {{p}} and {GUIDE} {PRON} to the {{p2}}",
     [("meet", "what=n at=p"), ("escort", "what=it to=p2")]),
    (f"{MEET} {{n}} and {GUIDE} {PRON}", [("meet", "what=n"), ("escort", "what=it")]),
    (f"{GO} to the {{p}}, {MEET} {{n}}, and {GUIDE} {PRON} to the {{p2}}",
     [("goto", "to=p"), ("meet", "what=n"), ("escort", "what=it to=p2")]),
    (f"{MEET} {{n}} at the {{p}}, {FOLLOW} {PRON}, and {GO} to the {{p2}}",
     [("meet", "what=n at=p"), ("follow", "what=it"), ("goto", "to=p2")]),
]
KEYS = ["n", "what", "text", "from", "at", "to"]  # canonical order


def read_rules(path, rules):
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        match = re.match(r"\s*\$(\w+)\s*=\s*(.+)", line.split("#")[0])
        if match:
            rules.setdefault(match[1], []).append(match[2].strip())


def split_top(text):
    """Alternatives at depth zero."""
    parts, depth, begin = [], 0, 0
    for i, char in enumerate(text):
        depth += char in "({"
        depth -= char in ")}"
        if char == "|" and depth == 0:
            parts.append(text[begin:i])
            begin = i + 1
    return parts + [text[begin:]]


def expand(text, rules, rng):
    """One random expansion down to placeholders."""
    text = rng.choice(split_top(text))
    out, i = "", 0
    while i < len(text):
        if text[i] in "({":
            depth, end = 0, i
            while True:
                depth += text[end] in "({"
                depth -= text[end] in ")}"
                end += 1
                if depth == 0:
                    break
            inside = text[i + 1:end - 1]
            out += expand(inside, rules, rng) if text[i] == "(" else "{" + inside + "}"
            i = end
        elif text[i] == "$":
            name = re.match(r"\$(\w+)", text[i:])[1]
            out += expand(rng.choice(rules[name]), rules, rng) if name in rules else "{unknown}"
            i += len(name) + 1
        else:
            out += text[i]
            i += 1
    return out


def placeholder(inside):
    """{room 1}, {kobject?}, {name 1 meta: ...} -> a kind and a number."""
    head = inside.split("meta:")[0].split("where")[0].strip()
    kind, number = re.match(r"([a-z]+)\??\s*(\d*)", head).groups()
    kind = {"kobject": "object", "aobject": "object", "sobject": "object"}.get(kind, kind)
    return "" if kind == "void" else f"<{kind}{number}>"


class World:
    def __init__(self, folder):
        rooms = xml.parse(folder / "locations.xml").getroot()
        places = list(rooms.iter("location"))
        objects = xml.parse(folder / "objects.xml").getroot()
        self.words = {
            "room": [r.get("name") for r in rooms.iter("room")],
            "placement": [p.get("name") for p in places if p.get("isPlacement")],
            "beacon": [p.get("name") for p in places if p.get("isBeacon")],
            "object": [o.get("name") for o in objects.iter("object")],
            "category": [line.split(",")[0] for line in (folder / "categories.txt").read_text().splitlines()[1:]],
            "name": [n.text for n in xml.parse(folder / "names.xml").getroot()],
            "whattosay": (folder / "whattosay.txt").read_text().splitlines(),
            "pron": ["him", "her", "them"],
        }
        self.words["location"] = self.words["placement"] + self.words["room"]

    def fill(self, shape, rng):
        chosen = {}

        def choose(match):
            key = match[0]
            if key not in chosen:
                used = {value for name, value in chosen.items() if name[:4] == key[:4]}
                free = [w for w in self.words[match[1]] if w and w not in used]
                chosen[key] = rng.choice(free or self.words[match[1]])
            return chosen[key]

        return re.sub(r"<([a-z]+)\d*>", choose, shape), chosen


SLOT = {"o": "(?:<(?:object|category)\\d*>|bowl|cloth|tray)",
        "p": "<(?:room|placement|beacon|location)\\d*>", "n": "<name\\d*>",
        "w": "<whattosay>"}
COMPILED = [(re.compile(re.sub(r"\{([opnw])(\d?)\}", lambda m: f"(?P<{m[1]}{m[2]}>{SLOT[m[1]]})", shape)
                        .replace(PRON, "(?P<it><pron>)")), steps) for shape, steps in SHAPES]
POLITE = re.compile(r"^(?:robot please|could you please|could you|please)\s+")


def meaning(command):
    """The steps of a command with placeholders, or None where no shape fits."""
    for shape, steps in COMPILED:
        match = shape.fullmatch(POLITE.sub("", command))
        if not match:
            continue
        found = match.groupdict()
        filled = []
        for do, fields in steps:
            step = {"do": do}
            for pair in fields.split():
                key, name = pair.split("=")
                value = found.get(name, name)  # a group, or a literal such as "me"
                if value is not None:
                    step[key] = value
            filled.append(step)
        return filled
    return None


def action(steps, chosen):
    """Steps with placeholders as one nested action, canonical key order."""
    out = None
    for step in reversed(steps):
        one = {"do": step["do"]}
        for key in KEYS:
            if key in step:
                value = chosen.get(step[key], step[key]).lower().replace("?", "")
                one[key] = int(value) if key == "n" else value
        if out:
            one["then"] = out
        out = one
    return json.dumps(out, separators=(",", ":"), ensure_ascii=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=1000, help="cases to write (default 1000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--left-out", action="store_true", help="print the shapes that are not expressible instead")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    shapes, left_out = {}, set()
    for name, grammars in SOURCES:
        folder, rules = args.folder / name, {}
        read_rules(folder / "common_rules.txt", rules)
        for grammar in grammars:
            read_rules(folder / grammar, rules)
        world = World(folder)
        for _ in range(EXPANSIONS_MAX):
            text = re.sub(r"\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}", lambda m: placeholder(m[1]),
                          expand("$Main", rules, rng))
            text = re.sub(r"\s+", " ", text).replace(" ,", ",").strip(" .").lower()
            if "<unknown>" in text or re.search(r"<(?!(?:room|placement|beacon|location|object|category|name|whattosay|"
                                                r"pron|gesture|question)\d*>)", text):
                continue
            steps = meaning(text)
            if steps is None:
                left_out.add(text)
            else:
                shapes.setdefault(text, (steps, world))
    if args.left_out:
        print("\n".join(sorted(left_out)))
        return
    cases = set()
    names = sorted(shapes)
    for _ in range(200 * args.count):
        if len(cases) >= args.count or not names:
            break
        shape = rng.choice(names)
        steps, world = shapes[shape]
        sentence, chosen = world.fill(shape, rng)
        cases.add((sentence, action(steps, chosen)))
    for sentence, completion in sorted(cases):
        case = {"prompt": sentence + "\n", "completion": completion}
        print(json.dumps(case, ensure_ascii=False, separators=(",", ":")))
    print(f"{len(cases)} cases from {len(shapes)} expressible command shapes; {len(left_out)} shapes left out",
          file=sys.stderr)


if __name__ == "__main__":
    main()
