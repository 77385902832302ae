"""Check the built site: every link inside it leads somewhere, and no page needs the network.

    python docs/check_links.py docs/_build/html

Links to other sites are not fetched. Scripts, styles, images and sounds must be files of the site, or data in
the page.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script", "img", "audio", "source", "video", "iframe"}  # tags whose src the browser loads


class Page(HTMLParser):
    """The anchors of a page, and its links: (URL, whether the browser loads it with the page)."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links = {"", "top"}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note what a tag names and where it leads."""
        attributes = dict(attrs)
        self.anchors.update(attributes[name] for name in ("id", "name") if attributes.get(name))
        if attributes.get("href"):
            styles = tag == "link" and attributes.get("rel") in ("stylesheet", "icon", "preload")
            self.links.append((attributes["href"], styles))
        if attributes.get("src"):
            self.links.append((attributes["src"], tag in LOADED))


def find_broken(site):
    """Return a line for each link that leads nowhere or needs the network, and the number of links checked."""
    site = Path(site).resolve()
    pages = {
        path: Page(path.read_text(encoding="utf-8"))
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts
    }
    broken, n_links = [], 0
    for path, page in pages.items():
        for link, is_loaded in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                if is_loaded and url.scheme != "data":
                    broken.append(f"{path.relative_to(site)}: {link} is loaded from the network")
                continue
            n_links += 1
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                broken.append(f"{path.relative_to(site)}: {link} does not exist")
            elif target in pages and unquote(url.fragment) not in pages[target].anchors:
                broken.append(f"{path.relative_to(site)}: {link} has no such anchor")
    return broken, n_links


if __name__ == "__main__":
    lines, n_checked = find_broken(sys.argv[1])
    print(*lines, f"{n_checked} links inside the site, {len(lines)} broken", sep="\n")
    sys.exit(bool(lines))
