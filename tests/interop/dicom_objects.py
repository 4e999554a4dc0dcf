"""DICOM objects about nobody, the same from every run: a hundred small ones and a big one.

Written as DCMTK writes them itself (sequences of explicit length, no group lengths, even lengths), so
that a receiver which reads and writes again keeps every byte. What stands for compressed pixels is
chance: nobody here decodes it. A data set's hash leaves out the file's meta header, which every
receiver writes anew (PS3.10 §7.1).
"""

import hashlib
import pathlib
import random
import shutil
import struct
from dataclasses import dataclass

SMALL_OBJECTS = 100
SMALL_BYTES_MIN, SMALL_BYTES_MAX = 10_000, 500_000
BIG_FRAMES = 640
BIG_ROWS = BIG_COLUMNS = 512
SEED = 20260101
# The arc of UUIDs (PS3.5 §B.2) and one made up for these objects.
UID_ROOT = "2.25.329800735698586629295641978511506172918"
IMPLEMENTATION_UID = f"{UID_ROOT}.1"


@dataclass(frozen=True)
class SopClass:
    name: str  # as DCMTK's configuration files have it
    uid: str
    modality: str
    payload: str = "pixels"


@dataclass(frozen=True)
class TransferSyntax:
    name: str  # as DCMTK's configuration files have it
    uid: str
    order: str = "<"
    explicit: bool = True
    encapsulated: bool = False


IMAGES = [
    SopClass("CTImageStorage", "1.2.840.10008.5.1.4.1.1.2", "CT"),
    SopClass("MRImageStorage", "1.2.840.10008.5.1.4.1.1.4", "MR"),
    SopClass("ComputedRadiographyImageStorage", "1.2.840.10008.5.1.4.1.1.1", "CR"),
    SopClass("DigitalXRayImageStorageForPresentation", "1.2.840.10008.5.1.4.1.1.1.1", "DX"),
    SopClass("UltrasoundImageStorage", "1.2.840.10008.5.1.4.1.1.6.1", "US"),
    SopClass("SecondaryCaptureImageStorage", "1.2.840.10008.5.1.4.1.1.7", "OT"),
]
DOCUMENTS = [
    SopClass("EncapsulatedPDFStorage", "1.2.840.10008.5.1.4.1.1.104.1", "DOC", "document"),
    SopClass("BasicTextSRStorage", "1.2.840.10008.5.1.4.1.1.88.11", "SR", "text"),
]
BIG_CLASS = SopClass("MultiframeGrayscaleWordSecondaryCaptureImageStorage", "1.2.840.10008.5.1.4.1.1.7.3", "OT")
NATIVE = [
    TransferSyntax("LittleEndianImplicit", "1.2.840.10008.1.2", explicit=False),
    TransferSyntax("LittleEndianExplicit", "1.2.840.10008.1.2.1"),
    TransferSyntax("BigEndianExplicit", "1.2.840.10008.1.2.2", order=">"),
]
ENCAPSULATED = [
    TransferSyntax("JPEGBaseline", "1.2.840.10008.1.2.4.50", encapsulated=True),
    TransferSyntax("JPEGLossless:Non-hierarchical-1stOrderPrediction", "1.2.840.10008.1.2.4.70", encapsulated=True),
    TransferSyntax("JPEGLSLossless", "1.2.840.10008.1.2.4.80", encapsulated=True),
    TransferSyntax("JPEG2000LosslessOnly", "1.2.840.10008.1.2.4.90", encapsulated=True),
    TransferSyntax("RLELossless", "1.2.840.10008.1.2.5", encapsulated=True),
]
EXPLICIT_LITTLE = NATIVE[1]
LONG_VRS = {"OB", "OW", "SQ", "UN", "UT"}
UNDEFINED_LENGTH = 0xFFFFFFFF


@dataclass(frozen=True)
class Fingerprint:
    """What of an object must arrive as it was sent."""

    instance: str
    transfer_syntax: str
    data_set_bytes: int
    data_set_sha256: str


@dataclass(frozen=True)
class Objects:
    small: dict  # path → Fingerprint
    big: dict

    @property
    def big_bytes(self):
        return sum(fingerprint.data_set_bytes for fingerprint in self.big.values())


def prepare(cache):
    """The objects in files below `cache`; made if this file has changed since."""
    version = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()[:16]
    folder = cache / f"objects-{version}"
    if not folder.exists():
        for outdated in cache.glob("objects-*"):
            shutil.rmtree(outdated)
        half_made = cache / "objects-half-made"
        half_made.mkdir(parents=True)
        write_all(half_made)
        half_made.rename(folder)
    found = {path: read_fingerprint(path) for path in sorted(folder.glob("*.dcm"))}
    small = {path: fingerprint for path, fingerprint in found.items() if path.stem != "big"}
    return Objects(small, {path: fingerprint for path, fingerprint in found.items() if path.stem == "big"})


def read_fingerprint(path):
    with open(path, "rb") as file:
        return fingerprint(file)


def fingerprint(file):
    """Reads a Part 10 file to its end; its meta header is explicit little endian, whatever follows."""
    if file.read(132)[128:] != b"DICM":
        raise ValueError("no DICOM file")
    (meta_bytes,) = struct.unpack("<8xI", file.read(12))
    meta, at, values = file.read(meta_bytes), 0, {}
    while at < len(meta):
        tag, vr, length = *struct.unpack_from("<I2s", meta, at), 0
        at, (length,) = (
            (at + 12, struct.unpack_from("<I", meta, at + 8))
            if vr.decode() in LONG_VRS
            else (at + 8, struct.unpack_from("<H", meta, at + 6))
        )
        values[tag] = meta[at : at + length].rstrip(b"\0 ").decode(errors="replace")
        at += length
    digest, length = hashlib.sha256(), 0
    while block := file.read(1 << 20):
        digest.update(block)
        length += len(block)
    return Fingerprint(values[0x00030002], values[0x00100002], length, digest.hexdigest())


def write_all(folder):
    chance = random.Random(SEED)
    for number in range(SMALL_OBJECTS):
        sop_class, syntax = small_kind(number)
        payload = Payload(chance, chance.randint(SMALL_BYTES_MIN, SMALL_BYTES_MAX) // 8 * 8)
        write_object(folder / f"{number:03}.dcm", sop_class, syntax, number, payload)
    frame = BIG_ROWS * BIG_COLUMNS * 2
    write_object(folder / "big.dcm", BIG_CLASS, EXPLICIT_LITTLE, SMALL_OBJECTS, Payload(chance, frame, BIG_FRAMES))


def small_kind(number):
    """Every class in every syntax it may have; documents are never encapsulated."""
    if number % 10 == 9:
        return DOCUMENTS[number // 10 % 2], NATIVE[number // 20 % 3]
    syntaxes = NATIVE + ENCAPSULATED
    return IMAGES[number % len(IMAGES)], syntaxes[number // len(IMAGES) % len(syntaxes)]


def association_profile(folder):
    """DCMTK's file for `storescu -xf`: a presentation context for each class and syntax, so that every
    object goes in the syntax it is in. By itself storescu offers only some and converts the rest."""
    syntaxes = NATIVE + ENCAPSULATED
    lines = ["[[TransferSyntaxes]]"]
    for number, syntax in enumerate(syntaxes):
        lines += [f"[Syntax{number}]", f"TransferSyntax1 = {syntax.name}"]
    pairs = [(image, number) for image in IMAGES for number in range(len(syntaxes))]
    pairs += [(document, number) for document in DOCUMENTS for number in range(len(NATIVE))]
    pairs.append((BIG_CLASS, NATIVE.index(EXPLICIT_LITTLE)))
    lines += ["[[PresentationContexts]]", "[Contexts]"]
    for number, (sop_class, syntax) in enumerate(pairs, 1):
        lines.append(f"PresentationContext{number} = {sop_class.name}\\Syntax{syntax}")
    lines += ["[[Profiles]]", "[Every]", "PresentationContexts = Contexts", ""]
    path = folder / "associations.cfg"
    path.write_text("\n".join(lines))
    return path


class Payload:
    """`pieces` pieces of `length` bytes of chance, made only when written."""

    def __init__(self, chance, length, pieces=1):
        self._chance = chance
        self.length = length
        self.pieces = pieces

    def __iter__(self):
        return (self._chance.randbytes(self.length) for _ in range(self.pieces))


def write_object(path, sop_class, syntax, number, payload):
    instance = f"{UID_ROOT}.2.{number}"
    with open(path, "wb") as file:
        file.write(bytes(128) + b"DICM" + meta_header(sop_class, syntax, instance))
        writer = Writer(file, syntax)
        writer.elements(
            (0x00080005, "CS", "ISO_IR 192"),
            (0x00080008, "CS", "DERIVED\\SECONDARY"),
            (0x00080016, "UI", sop_class.uid),
            (0x00080018, "UI", instance),
            (0x00080020, "DA", "20260101"),
            (0x00080030, "TM", f"{number % 24:02}0000"),
            (0x00080060, "CS", sop_class.modality),
            (0x00080090, "PN", ""),
        )
        referred = [[(0x00081150, "UI", sop_class.uid), (0x00081155, "UI", f"{instance}.{item}")] for item in (1, 2)]
        writer.sequence(0x00081140, referred)
        # An odd group is private; its creator says whose (PS3.5 §7.8).
        writer.elements((0x00090010, "LO", "ADIT INTEROP"), (0x00091001, "UN", random.Random(number).randbytes(64)))
        writer.elements(
            (0x00100010, "PN", f"Prüfling^Ünal {number}"),
            (0x00100020, "LO", f"{1_000_000 + number % 10}"),
            (0x00100030, "DA", "19700101"),
            (0x00100040, "CS", "O"),
            (0x0020000D, "UI", f"{UID_ROOT}.3.{number % 10}"),
            (0x0020000E, "UI", f"{UID_ROOT}.4.{number % 20}"),
            (0x00200010, "SH", f"{number % 10}"),
            (0x00200011, "IS", f"{number % 20}"),
            (0x00200013, "IS", f"{number}"),
        )
        PAYLOADS[sop_class.payload](writer, payload)


def meta_header(sop_class, syntax, instance):
    elements = [
        (0x00020001, "OB", b"\0\1"),
        (0x00020002, "UI", sop_class.uid),
        (0x00020003, "UI", instance),
        (0x00020010, "UI", syntax.uid),
        (0x00020012, "UI", IMPLEMENTATION_UID),
    ]
    meta = b"".join(encoded(EXPLICIT_LITTLE, *element) for element in elements)
    return encoded(EXPLICIT_LITTLE, 0x00020000, "UL", len(meta)) + meta


def write_pixels(writer, payload):
    rows, columns = (BIG_ROWS, BIG_COLUMNS) if payload.pieces > 1 else (1, payload.length // 2)
    # One line cannot be wider than its field.
    while columns > 0xFFFF:
        rows, columns = rows * 2, columns // 2
    writer.elements(
        (0x00280002, "US", 1),
        (0x00280004, "CS", "MONOCHROME2"),
        (0x00280008, "IS", str(payload.pieces)),
        (0x00280010, "US", rows),
        (0x00280011, "US", columns),
        (0x00280100, "US", 16),
        (0x00280101, "US", 16),
        (0x00280102, "US", 15),
        (0x00280103, "US", 0),
    )
    if writer.syntax.encapsulated:
        writer.fragments(0x7FE00010, payload)
    else:
        writer.stream(0x7FE00010, "OW", payload)


def write_document(writer, payload):
    writer.elements((0x00420010, "ST", "About nobody"))
    writer.stream(0x00420011, "OB", payload)
    writer.elements((0x00420012, "LO", "application/pdf"))


def write_text(writer, payload):
    text = b"".join(payload).hex()[: payload.length]
    writer.elements((0x0040A040, "CS", "TEXT"), (0x0040A160, "UT", text))


PAYLOADS = {"pixels": write_pixels, "document": write_document, "text": write_text}


class Writer:
    def __init__(self, file, syntax):
        self._file = file
        self.syntax = syntax

    def elements(self, *elements):
        for element in elements:
            self._file.write(encoded(self.syntax, *element))

    def sequence(self, tag, items):
        body = b""
        for item in items:
            content = b"".join(encoded(self.syntax, *element) for element in item)
            body += self._item(len(content)) + content
        self._file.write(header(self.syntax, tag, "SQ", len(body)) + body)

    def stream(self, tag, vr, payload):
        self._file.write(header(self.syntax, tag, vr, payload.length * payload.pieces))
        for piece in payload:
            self._file.write(piece)

    def fragments(self, tag, payload):
        """An empty offset table, then the pixels in fragments (PS3.5 §A.4)."""
        self._file.write(header(self.syntax, tag, "OB", UNDEFINED_LENGTH) + self._item(0))
        for piece in payload:
            half = len(piece) // 4 * 2
            for fragment in [piece[:half], piece[half:]]:
                self._file.write(self._item(len(fragment)) + fragment)
        self._file.write(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))

    def _item(self, length):
        return struct.pack(self.syntax.order + "HHI", 0xFFFE, 0xE000, length)


def encoded(syntax, tag, vr, value):
    if vr == "US":
        value = struct.pack(syntax.order + "H", value)
    elif vr == "UL":
        value = struct.pack(syntax.order + "I", value)
    elif isinstance(value, str):
        value = value.encode()
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    return header(syntax, tag, vr, len(value)) + value


def header(syntax, tag, vr, length):
    group, element = tag >> 16, tag & 0xFFFF
    if not syntax.explicit:
        return struct.pack(syntax.order + "HHI", group, element, length)
    if vr in LONG_VRS:
        return struct.pack(syntax.order + "HH2s2xI", group, element, vr.encode(), length)
    return struct.pack(syntax.order + "HH2sH", group, element, vr.encode(), length)
