"""Writes what fuzzing starts from, taken from the tables of the tests: python3 seeds.py FOLDER.

Below FOLDER/seeds/: a folder of inputs and a dictionary for each target.
"""

import csv
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
KINDS = "none uuidset headermap intmap stringmap messagefilter eventfilter connectormessage form text".split()


def rows(path):
    lines = [line for line in (TOP / path).read_text().splitlines() if not line.startswith("#")]
    return list(csv.reader(lines[1:], delimiter="\t", quoting=csv.QUOTE_NONE))


def wire(escaped):
    """Bytes of a request as the vectors write it."""
    escaped = escaped.replace("{{PAUSE}}", "")
    # A long repetition teaches no more than a short one.
    repeat = lambda found: found[1] * min(int(found[2]), 50)
    text = re.sub(r"\{\{(.*?)\*(\d+)\}\}", repeat, escaped)
    return text.encode("latin-1", "replace").decode("unicode_escape").encode("latin-1", "replace")


def write(folder, target, inputs, words):
    seeds = folder / "seeds" / target
    seeds.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(inputs):
        (seeds / f"{number:04}").write_bytes(data)
    quoted = ("".join(c if c.isalnum() or c in "._-/$<>= " else f"\\x{ord(c):02x}" for c in w) for w in words)
    (folder / "seeds" / f"{target}.dict").write_text("".join(f'"{word}"\n' for word in quoted))


def main(folder):
    requests = [wire(row[1]) for row in rows("tests/it/data/read-only-vectors.tsv")]
    heads = ["HTTP/1.1\r\n", "\r\n\r\n", "\r\n", "Host: ", "Content-Length: ", "Transfer-Encoding: chunked\r\n",
             "Connection: close\r\n", "Expect: 100-continue\r\n", "Content-Type: ", "X-Requested-With: ",
             "Authorization: Basic ", "X-Forwarded-For: ", "Upgrade: ", "Trailer: ", "0\r\n\r\n", "GET /", "POST /"]
    write(folder, "head", requests, heads)

    lines = {request.split(b" HTTP/")[0] for request in requests if b" HTTP/" in request}
    rules = rows("src/mirth/data/mirth-read-only-rules.tsv")
    operations = rows("src/mirth/data/mirth-operations.tsv")
    pages = rows("src/mirth/data/mirth-other-surface.tsv")
    paths = {part for row in operations + pages for part in re.findall(r"/[A-Za-z0-9_./{}-]+", " ".join(row))}
    filled = [re.sub(r"\{[^}]*\}", "1", path) for path in sorted(paths)]
    targets = [f"{method} /api{path}".encode() for path in filled for method in ("GET", "POST")]
    parts = {part for path in filled for part in path.split("/") if part}
    spellings = ["%2e", "%2f", "%25", "%3b", "%5c", "%00", "%c0%ae", "..", "//", ";", "?", "#", "/api", "/4.5.2",
                 "/mirth/api", "metaDataSearch=", "textSearchMetaDataColumn=", "&", "=", "GET ", "POST ", "DELETE "]
    columns = ["metaDataSearch=SOURCE%20EQUAL%20x", "metaDataCaseInsensitiveSearch=A+CONTAINS+b"]
    searches = [f"GET /api/channels/1/messages?{column}".encode() for column in columns]
    mirth = [target.replace(b" /api", b" /mirth/api") for target in targets[:40]]
    write(folder, "path", sorted(lines) + targets + searches + mirth, sorted(parts) + spellings)
    assert len(rules) > 100

    samples = [(row[0], row[5]) for row in rows("src/mirth/data/read-only-bodies.tsv") if row[0] in KINDS]
    sources = "".join(path.read_text() for path in (TOP / "src/mirth/body/tests").glob("*.rs"))
    # Strings of the tests that look like a body, each tried with every kind of XML.
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"', sources, re.S)
    texts = {re.sub(r"\\\n\s*", "", text) for text in strings if "<" in text and "{" not in text}
    texts = {re.sub(r"\\u\{([0-9a-f]+)\}", lambda found: chr(int(found[1], 16)), text) for text in texts}
    plain = {text.replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r") for text in texts}
    bodies = [bytes([KINDS.index(kind)]) + sample.encode() for kind, sample in samples]
    bodies += [bytes([12]) + b"op=login&version=0.0.0&username=a&password=x&loginNonce=1%3D"]
    bodies += [bytes([kind]) + text.encode() for text in sorted(plain) for kind in range(1, 8)]
    table = (TOP / "src/mirth/data/read-only-bodies.tsv").read_text()
    names = {word for word in re.findall(r"[A-Za-z][A-Za-z0-9._$-]+", table) if len(word) < 90}
    tokens = ["<!DOCTYPE ", "<!--", "-->", "<![CDATA[", "]]>", "<?xml ", "&#x", "&amp;", ' class="', "/>", "</",
              ' reference="', "dynamic-proxy", "username=", "&password=", "%C3%A9"]
    write(folder, "body", bodies, sorted(names) + tokens)

    answers = [path.read_bytes() for path in sorted((TOP / "tests/it/data/masking").iterdir())]
    sources = "".join(path.read_text() for path in (TOP / "src/mirth/mask/tests").glob("*.rs"))
    answers += [text.replace('\\"', '"').encode() for text in re.findall(r'"((?:[^"\\]|\\.)*)"', sources) if text[:1] in "<{["]
    marks = tokens + ["********", "<entry>", "</entry>", "<property name=", "<__|", '"@name":', '"$":', '"entry":', "\\u0070"]
    credentials = ["password", "passPhrase", "secret", "privateKey", "token", "credentials", "Authorization",
                   "configurationMap", "pluginProperties", "ConfigurationProperty", "archiverOptions", "true", "null"]
    write(folder, "mask", [bytes([kind]) + answer for answer in answers for kind in (0, 1, 2, 4, 5, 6, 8)], marks + credentials)


main(pathlib.Path(sys.argv[1]))
