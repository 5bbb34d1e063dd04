"""Teeth: would the tests notice? Defects are put into copies of the source, one at a time.

    make teeth                all of them, and a table of what caught each
    make teeth ONLY=fork      those with this word in their names

Every defect is a text to replace, the promise that it breaks, and the tests that are to catch it.
First these tests pass on an unchanged copy; then one of them must fail on the copy with the defect,
by what it looks at: not by hanging, and not because nothing can be imported or parsed.
"""
