"""Parts of pages of the guide that scripts rewrite."""


def replace_part(page, name, text):
    """Replace what is between the lines ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->`` of a page."""
    begin, end = (f"<!-- {name}: {side} -->" for side in ("begin", "end"))
    page_text = page.read_text()
    if begin not in page_text or end not in page_text:
        raise SystemExit(f"{page} lacks the lines {begin} and {end}, between which the results belong.")
    before, after = page_text.split(begin)[0], page_text.split(end)[1]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
