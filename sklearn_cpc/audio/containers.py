"""Find all the sound in a file, because libsndfile believes headers, guesses lengths and ignores what follows."""

import io
import mmap
import os
import re
import struct
from collections import Counter
from contextlib import contextmanager

from .._warnings import warn
from .files import RemoteFile

UNKNOWN_LENGTH = (1 << 63) - 1  # samples that libsndfile reports for files of unknown length
LENGTH_TOLERANCE = 4 * 1152  # samples, of compressed formats; some mp3 encoders count a few frames of padding
# libsndfile logs the size that a header states and the size that is there, if they differ.
STATED_SIZE = re.compile(r"(?m)^ *(?:data|SSND|BODY|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)")
STATED_LENGTH = re.compile(r"(?m)^ *(?:Frames|(?:Rows.*)?Cols|Data length|sample_count -i) *:? *(\d+)")  # samples
UNKNOWN_SIZES = 0x7FFFF000, 1 << 31, 1 << 32  # stated, within a header's size, by writers that do not know it
SIZE_TOLERANCE = 64  # bytes; some writers count the header as samples
SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4}
SAMPLE_BYTES |= {"FLOAT": 4, "DOUBLE": 8}
# By the first bytes of a file: where its chunks begin, how a chunk begins (name and size), and how it is aligned.
RIFF, IFF = (12, struct.Struct("<4sI"), 2), (12, struct.Struct(">4sI"), 2)
W64, CAF = (40, struct.Struct("<4s12xQ"), 8), (8, struct.Struct(">4sQ"), 1)
CHUNKS = {b"RIFF": RIFF, b"RF64": RIFF, b"RIFX": IFF, b"FORM": IFF, b"riff": W64, b"caff": CAF}
SOUND_CHUNKS = b"data", b"SSND", b"BODY"
NOT_ZERO = re.compile(rb"[^\0]")
NEXT_FILE = re.compile(rb"(?s)(RIFF|RIFX|RF64)....WAVE|FORM....(AIF|8SV)|riff\x2e\x91|caff\0\x01|\.snd\0|dns\.")
TAGS = tuple(
    b"TAG,APETAGEX,ID3,LYRICSBEGIN,LIST,bext,iXML,_PMX,id3 ,cue ,smpl,JUNK,junk,PAD ,ANNO,NAME".split(b",")
)
MAX_READ_BYTES = 1 << 25  # of files that are not mapped
MAX_HEADER, MAX_WAV_HEADER, MAX_MAT4_HEADER = 4096, 128, 168  # bytes; the first of other formats without chunks
SEVERAL_STREAMS = "holds several streams, of which only one would be read; split it, or convert it."
FLAC_FRAME = re.compile(rb"\xff(?=[\xf8\xf9][\x10-\xff].[\0-\x7f\xc0-\xfe])", re.DOTALL)
MAX_END = 1 << 17  # bytes at the end of a remote file that hold its last frame
FLAC_LENGTHS = 0, 192, 576, 1152, 2304, 4608, 0, 0, *(256 << i for i in range(8))  # samples, by code
CRC8 = list(range(256))  # checksums of single bytes
for _ in range(8):
    CRC8 = [byte << 1 ^ (byte >> 7) * 0x107 for byte in CRC8]
MP3_FRAME = re.compile(  # the first four bytes of a frame of layer 2 or 3
    rb"\xff([\xe2-\xe5\xf2-\xf5\xfa-\xfd])([%b])(.)" % re.escape(bytes(i for i in range(16, 240) if i & 12 < 12)),
    re.DOTALL,
)
MAX_UNKNOWN_BYTES = 4 * 1441  # in an mp3 file, about four of the largest frames
MP3_RATES = 44100, 48000, 32000  # Hz, of MPEG 1; half of it in MPEG 2, and a quarter in MPEG 2.5
MP3_KBPS = {  # by whether it is MPEG 1, and by layer
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    **dict.fromkeys([(False, 2), (False, 3)], (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)),
}


@contextmanager
def map_file(path):
    """Open a file as if it were bytes; a large or remote one is read only where it is used."""
    if isinstance(path, RemoteFile):
        yield path
        return
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < MAX_READ_BYTES:
            yield file.read()  # a mapped file that another program cuts meanwhile would kill the process
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data


def find_truncation(audio, n_samples, n_read):
    """Say why a decoded file looks truncated, or return None; libsndfile reads such a file without an error."""
    for stated, found in STATED_SIZE.findall(audio.extra_info):
        is_known = all(abs(int(stated) - size) > MAX_WAV_HEADER for size in UNKNOWN_SIZES)
        if int(found) < int(stated) - SIZE_TOLERANCE and is_known:
            return f"{found} of {stated} bytes are there"
    if audio.format == "OGG" and "reports a hole" in audio.extra_info:
        return "pages are missing"  # some decoders fill the hole with leftover memory
    if "Seems to be a truncated file" in audio.extra_info:  # a voc file
        return "its last block is not complete"
    if n_samples != UNKNOWN_LENGTH and n_read < n_samples - length_tolerance(audio):
        return f"{n_read} of {n_samples} samples are there"
    return None


def length_tolerance(audio):
    """Return how many samples more than there are a header may state."""
    is_short = audio.format == "MP3" and audio.samplerate < min(MP3_RATES)  # frames of 576 samples
    return LENGTH_TOLERANCE // (2 if is_short else 1) if audio.format in ("MP3", "OGG") else 0


def refuse_unread_sound(path, audio, n_read):
    """Raise if a file may hold more sound than the ``n_read`` samples that libsndfile finds in it."""
    unread = None
    with map_file(path) as data:
        if audio.format == "FLAC":
            unread = (find_unread_flac if data is not path else find_other_end)(data, n_read)
        elif audio.format == "OGG":
            unread = find_unread_ogg(data, path)
        elif audio.format != "MP3":  # whose frames have all been counted
            unread = find_unread_bytes(data, audio, n_read * audio.channels * SAMPLE_BYTES.get(audio.subtype, 0))
            log = audio.extra_info + data[: MAX_HEADER if audio.format == "NIST" else 0].decode("latin-1")
            lengths = STATED_LENGTH.findall(log) if data[:4] not in CHUNKS else []
            if lengths and abs(int(lengths[-1]) - n_read) > SIZE_TOLERANCE:
                unread = unread or f"its header states {lengths[-1]} samples, and {n_read} were read"
    if unread:
        raise ValueError(f"is damaged or cut short ({unread}); copy it again, or repair its header.")


def find_unread_bytes(data, audio, n_decoded):
    """Say how much follows the sound in a wav or similar file, if it is not chunks, tags or zeros.

    ``n_decoded`` is the size of the sound, or 0 if that is not known; then the header is believed.
    """
    position = sound_end = n_decoded + (MAX_MAT4_HEADER if audio.format == "MAT4" else MAX_HEADER)
    if data[:4] in (b".snd", b"dns."):
        offset, length = struct.unpack(">II" if data[:1] == b"." else "<II", data[4:12].ljust(8, b"\0"))
        position = sound_end = offset + (n_decoded or length)
    elif data[:4] in CHUNKS:
        position, header, alignment = CHUNKS[data[:4]]
        sound_end = 0
        while position + header.size <= len(data):
            name, length = header.unpack(data[position : position + header.size])
            start = position + header.size
            stop = start + max(0, length - header.size if alignment == 8 else length)  # w64 counts the header
            if name in SOUND_CHUNKS and not sound_end:
                if audio.subtype in SAMPLE_BYTES and abs(start + n_decoded - stop) > SIZE_TOLERANCE:
                    stop = start + n_decoded
                sound_end = stop
            elif stop > len(data) + 1 or not re.fullmatch(rb"[ -~]{4}", name) or name in (*SOUND_CHUNKS, *CHUNKS):
                break
            is_padded = not data[stop : stop + 1].strip(b"\0")  # some writers leave out the padding
            position = stop + (-stop % alignment if is_padded else 0)
    elif not n_decoded or audio.format == "SDS" or (audio.format, audio.subtype) == ("PAF", "PCM_24"):
        return None  # unknown layout
    rest = (data, position) if not isinstance(data, RemoteFile) else (data[position : position + MAX_READ_BYTES],)
    is_tag = data[position : position + 16].startswith(TAGS) and not NEXT_FILE.search(*rest)
    if len(data) - position > SIZE_TOLERANCE and not is_tag and NOT_ZERO.search(*rest):
        return f"{len(data) - sound_end} of {len(data)} bytes follow the end that its header states"
    return None


def find_unread_ogg(data, path):
    """Say whether an ogg file has several streams, or sound that is not decoded; warn if it may end too early."""
    pages = list(re.finditer(rb"OggS\0([\0-\7])(.{8})(.{4}).{8}(.)", data, re.DOTALL))
    if sum(page[1][0] >> 1 & 1 for page in pages) != 1 or len({page[3] for page in pages}) > 1:
        raise ValueError(SEVERAL_STREAMS)
    ends = [end for page in pages if (end := int.from_bytes(page[2], "little", signed=True)) != -1]  # in samples
    if ends != sorted(ends):  # the decoder drops the sound after the last
        return "its pages state positions that decrease"
    start, n_segments = pages[-1].end(), pages[-1][4][0]
    stop = start + n_segments + sum(data[start : start + n_segments])
    if stop > len(data):
        return "its last page is not complete"
    if not pages[-1][1][0] & 4:  # the end of the stream
        if len(data) > stop + SIZE_TOLERANCE and not data[stop : stop + 16].startswith(TAGS):
            return f"its last {len(data) - stop} of {len(data)} bytes are no ogg pages"
        name = getattr(path, "url", path)
        warn(f"{os.fspath(name)!r} may be cut short, because its ogg stream has no end; what is there is read.")
    return None


def find_unread_flac(data, n_read):
    """Say whether the frames of a flac file hold other samples than those that were read, or several streams."""
    if len(re.findall(rb'fLaC[\0\x80]\0\0"', data)) > 1:
        raise ValueError(SEVERAL_STREAMS)
    position, is_last_block = data.find(b"fLaC") + 4, False
    while not is_last_block and position < len(data):
        is_last_block = data[position] > 127  # of metadata
        position += 4 + int.from_bytes(data[position + 1 : position + 4], "big")
    first, n_frames, n_samples = None, 0, 0  # first: the kind and number of the first frame
    for match in FLAC_FRAME.finditer(data, position):
        kind, number, length = parse_flac_frame(data[match.start() : match.start() + 16])
        first = first or (length and (kind, number))
        # Frames are numbered; if their lengths vary, each has the number of its first sample.
        if length and (kind, number) == (first[0], first[1] + (n_samples if kind & 1 else n_frames)):
            n_frames, n_samples = n_frames + 1, n_samples + length
    if n_samples > n_read:
        return f"its header states {n_read} samples, and more follow"
    return "frames are missing" if n_samples < n_read else None


def find_other_end(data, n_read):
    """Say whether the last frames of a remote flac file do not end after the samples that its header states."""
    tail, length = data[-MAX_END:], int.from_bytes(data[8:10], "big")  # of all frames that are not the last
    for match in FLAC_FRAME.finditer(tail):
        kind, number, n_samples = parse_flac_frame(tail[match.start() : match.start() + 16])
        if n_samples and (number if kind & 1 else number * length) + n_samples == n_read:
            return None
    return f"its header states {n_read} samples, and its last frame does not end there"


def parse_flac_frame(head):
    """Return the second byte of a flac frame, its number, and its length in samples, or 0 if it is no frame."""
    size_code, rate_code = head[2] >> 4, head[2] & 15
    n_ones = 8 - (head[4] ^ 255).bit_length()  # leading ones: how many bytes the number has, as in UTF-8
    end = 4 + max(1, n_ones)
    number = head[4] & (127 >> n_ones)
    for byte in head[5:end]:
        number = number << 6 | byte & 63
    n_extra = size_code - 5 if size_code in (6, 7) else 0  # bytes of the length
    length = FLAC_LENGTHS[size_code] or int.from_bytes(head[end : end + n_extra], "big") + 1
    end += n_extra + (rate_code == 12) + 2 * (rate_code > 12) + 1
    checksum = 0
    for byte in head[:end]:  # of which the last is the checksum
        checksum = CRC8[checksum ^ byte]
    return head[1], number, 0 if checksum or len(head) < end else length


def skip_id3_tags(data, position=0):
    """Return the position after the ID3 tags, if any, that begin at a position."""
    while (head := data[position : position + 10]).startswith(b"ID3") and len(head) == 10:
        a, b, c, d = (byte & 0x7F for byte in head[6:])  # the size, 7 bits per byte
        position += 10 + (a << 21 | b << 14 | c << 7 | d)
    return position


def find_mp3_frames(path):
    """Return the frames of an mp3 file (bytes), how many samples a header states, or 0, and how many there are."""
    frames, n_stated, in_sync, n_unknown = [], 0, False, 0
    counts: Counter[tuple] = Counter()  # samples by rate and number of channels
    with map_file(path) as data:
        end = position = skip_id3_tags(data)  # of the last frame or tag
        while match := MP3_FRAME.search(data, position):
            in_sync = in_sync and match.start() == position
            position = match.start()
            version, rate, mode = (group[0] for group in match.groups())
            layer, is_mpeg1 = 4 - (version >> 1 & 3), version & 24 == 24
            n_samples = 576 if layer == 3 and not is_mpeg1 else 1152
            hertz = MP3_RATES[rate >> 2 & 3] // (1 if is_mpeg1 else 2 if version & 16 else 4)
            size = n_samples * 125 * MP3_KBPS[is_mpeg1, layer][(rate >> 4) - 1] // hertz + (rate >> 1 & 1)
            frame = data[position : position + size]
            is_last = position + size == len(data)
            if len(frame) < size or not (in_sync or is_last or MP3_FRAME.match(data, position + size)):
                position, in_sync = position + 1, False
                continue
            if not data[end : end + 16].startswith(TAGS):
                n_unknown += position - end
            end = position = skip_id3_tags(data, position + size)
            in_sync = True
            if info := re.search(rb"(?:Xing|Info)...(.)(.{4})", frame[:64], re.DOTALL):  # a header without sound
                if not counts:
                    n_stated = n_samples * int.from_bytes(info[2], "big") * (info[1][0] & 1)
            else:
                frames.append(frame)
                counts[hertz, mode >> 6 == 3] += n_samples
        n_bytes = len(data)
        if not data[end : end + 16].startswith(TAGS):
            n_unknown += n_bytes - end
    if counts and counts.total() - max(counts.values()) > LENGTH_TOLERANCE:
        raise ValueError(SEVERAL_STREAMS)
    if n_unknown > MAX_UNKNOWN_BYTES and not n_stated:
        found = f"{n_unknown} of {n_bytes} bytes are neither frames nor tags"
        raise ValueError(f"is damaged, or not mp3 ({found}); copy it again from its source.")
    return b"".join(frames), n_stated, counts.total()


class EndlessFile(io.BytesIO):
    """Bytes that claim to be a huge file, so that libsndfile does not guess from the size where the sound ends."""

    def seek(self, offset, whence=os.SEEK_SET):
        """Move to a position, or far behind the end."""
        return super().seek(1 << 40) if (offset, whence) == (0, os.SEEK_END) else super().seek(offset, whence)
