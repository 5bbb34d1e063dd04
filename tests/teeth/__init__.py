"""Teeth: would the tests notice? Defects are put into copies of the source, one at a time.

    make teeth                         all of them, and a table of what caught each
    python -m teeth fence 'the heap'   those with these words in their names (in the folder tests)

Every defect is a text to replace, the promise that it breaks, and the tests that are to catch it.
First these tests pass on an unchanged copy; then each must fail on the copy with its defect.
"""
