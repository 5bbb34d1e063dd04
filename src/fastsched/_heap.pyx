# cython: language_level=3, boundscheck=False, wraparound=False, binding=False
# cython: embedsignature=True, embedsignature.format=clinic
"""The indexed binary heap, compiled.

An *entry* is a plain struct in a binary heap, with its whole sort key inside. Its *slot* is where
the objects of the entry are and stay: the id and the item. A hash table leads from the id to the
slot, and `places` from the slot to the entry, so moving an entry touches no Python object.

Three rules make the heap safe to share between threads that hold the GIL, and to enter again from
a finalizer:

* Ids are exactly `str`, `int` or `UUID`, and a `UUID` is known by its `int`: hashing and comparing
  ids runs no Python code.
* Whatever may start a garbage collection, and with it Python code, happens before the state of the
  heap is read or when it is whole again. Between the two, nothing fails and nothing interrupts.
* References are dropped last.
"""

cimport cython
from cpython.bool cimport PyBool_Check
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.list cimport PyList_GET_SIZE
from cpython.long cimport PyLong_AsDouble, PyLong_AsSsize_t, PyLong_Check, PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport Py_EQ, PyObject, PyObject_Hash, PyObject_RichCompareBool
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New
from cpython.unicode cimport PyUnicode_CheckExact
from libc.math cimport isfinite, isnan
from libc.stdint cimport UINT32_MAX, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import sys
from types import GenericAlias
from uuid import UUID

cdef extern from "Python.h":
    PyObject** PySequence_Fast_ITEMS(list objects)
    int PyList_SetSlice(list objects, Py_ssize_t low, Py_ssize_t high, PyObject* new) except -1
    void PyTuple_SET_ITEM(tuple target, Py_ssize_t index, PyObject* stolen)
    long PyLong_AsLongAndOverflow(object number, int* overflow) except? -1

# An entry's place in the order is one 128-bit number, most significant part first:
#   order "ready"   priority, reversed (16 bits)   due_at (64)      sequence (48)
#   order "due"     due_at (64)      priority, reversed (16 bits)   sequence (48)
# It is unique, so there are no ties to break, and it is compared without knowing the order.
#
# Where there is a 128-bit type, comparing it takes no branch, and the choice between two children
# is one that no processor predicts. Fetching the grandchildren ahead hides most of the wait for
# memory. Together they took a pop, in C, from 143 ns to 102 at 100,000 entries and from 321 to 200
# at 1,000,000.
cdef extern from *:
    """
    #include <stdint.h>

    typedef struct {
        uint64_t high;
        uint64_t low;
        uint32_t slot;
        uint32_t hash;
    } fastsched_entry;

    static inline int fastsched_before(const fastsched_entry *a, const fastsched_entry *b) {
    #ifdef __SIZEOF_INT128__
        return ((unsigned __int128)a->high << 64 | a->low)
             < ((unsigned __int128)b->high << 64 | b->low);
    #else
        return (a->high < b->high) | ((a->high == b->high) & (a->low < b->low));
    #endif
    }

    #ifdef __GNUC__
    #define fastsched_prefetch(address) __builtin_prefetch(address)
    #else
    #define fastsched_prefetch(address) ((void)0)
    #endif
    """
    ctypedef struct Entry "fastsched_entry":
        uint64_t high
        uint64_t low
        uint32_t slot
        uint32_t hash  # of the id

    bint before "fastsched_before"(const Entry* a, const Entry* b) noexcept nogil
    void prefetch "fastsched_prefetch"(const void* address) noexcept nogil

# One place of the table that leads from ids to slots: open addressing, linear probing, no
# tombstones. With a dict of slot numbers in its place, a pop of 100,000 took 2.5 times as long.
cdef struct Cell:
    uint32_t hash
    uint32_t slot  # or NONE

cdef uint32_t NONE = UINT32_MAX

cdef uint64_t SIGN = <uint64_t>1 << 63
cdef uint64_t SEQUENCES = <uint64_t>1 << 48  # a million pushes a second for nine years

cdef long LOWEST_PRIORITY = -32768
cdef long HIGHEST_PRIORITY = 32767

cdef uint32_t FIRST_CAPACITY = 16
cdef uint32_t IDLE_CAPACITY = 1024  # above it, an emptied heap gives its memory back


cdef inline uint64_t ordered(double value) noexcept nogil:
    """The bits of `value`, arranged to compare as unsigned numbers as the values do."""
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    return ~bits if bits & SIGN else bits | SIGN


cdef inline double unordered(uint64_t bits) noexcept nogil:
    cdef double value
    bits = bits ^ SIGN if bits & SIGN else ~bits
    memcpy(&value, &bits, 8)
    return value


cdef str shown(object value):
    """`repr(value)`, shortened; never an exception."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."


cdef inline uint32_t hash_of(object id) except? 0:
    cdef uint64_t value
    if PyUnicode_CheckExact(id) or PyLong_CheckExact(id):
        value = PyObject_Hash(id)
    elif type(id) is UUID:
        value = PyObject_Hash(id.int)
    else:
        raise TypeError(f"id must be a str, an int or a uuid.UUID, not {type(id).__name__}")
    return <uint32_t>(value * <uint64_t>0x9E3779B97F4A7C15 >> 32)  # spread, by the golden ratio


cdef inline bint same(object a, object b) except -1:
    """Whether two ids are equal."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is UUID:
        return PyObject_RichCompareBool(a.int, b.int, Py_EQ)
    return PyObject_RichCompareBool(a, b, Py_EQ)


cdef inline long priority_of(object priority) except? -1:
    cdef int overflow
    cdef long value
    if not PyLong_Check(priority) or PyBool_Check(priority):
        raise TypeError(f"priority must be an int, not {type(priority).__name__}")
    value = PyLong_AsLongAndOverflow(priority, &overflow)
    if overflow or not LOWEST_PRIORITY <= value <= HIGHEST_PRIORITY:
        raise ValueError(
            f"priority must be from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}, not {shown(priority)}"
        )
    return value


cdef inline double seconds_of(object value, str name) except? -1:
    if PyFloat_Check(value):
        return PyFloat_AS_DOUBLE(value)
    if not PyLong_Check(value) or PyBool_Check(value):
        raise TypeError(
            f"{name} must be an int or a float, in seconds, not {type(value).__name__}"
        )
    try:
        return PyLong_AsDouble(value)
    except OverflowError:
        raise ValueError(f"{name} is too large for a float: {shown(value)}") from None


cdef inline double due_at_of(object due_at) except? -1:
    cdef double value = seconds_of(due_at, "due_at")
    if not isfinite(value):
        raise ValueError(f"due_at must be a finite number of seconds, not {shown(due_at)}")
    return value + 0.0  # -0.0 becomes 0.0: they are equal, and must sort so


cdef inline Py_ssize_t count_of(object n) except? -1:
    if not PyLong_Check(n) or PyBool_Check(n):
        raise TypeError(f"n must be an int, not {type(n).__name__}")
    if n < 0:
        raise ValueError(f"n must not be negative, not {shown(n)}")
    try:
        return PyLong_AsSsize_t(n)
    except OverflowError:
        return sys.maxsize


@cython.final
@cython.no_gc_clear  # its lists and dict break cycles themselves, and must not turn into None
@cython.auto_pickle(False)
cdef class IndexedHeap:
    """A binary heap of entries `(id, item, priority, due_at)`, each within reach by its id.

    order "ready": the highest priority first, then the earliest `due_at`, then the first pushed.
    order "due": the earliest `due_at` first, then the highest priority, then the first pushed.

    An id is a `str`, an `int` or a `uuid.UUID` (subclasses are refused), and stands once in the
    heap. `priority` is an int from -32768 to 32767. `due_at` is a finite int or float, in seconds,
    and comes back as a float. `item` is anything.

    Arguments that break these rules raise `TypeError` or `ValueError`, an id that is not there
    `KeyError`, and the heap is as it was. Threads may share a heap.
    """

    cdef Entry* _entries
    cdef uint32_t* _places  # by slot: the index of its entry; for a free slot, the next free slot
    cdef list _objects  # by slot: its id and its item, one after the other
    cdef Cell* _cells
    cdef uint32_t _mask  # the number of cells, a power of two, less one
    cdef uint32_t _shift  # from a hash to its cell
    cdef uint32_t _count
    cdef uint32_t _capacity
    cdef uint32_t _free  # the first free slot
    cdef uint64_t _sequence
    cdef bint _by_due

    def __cinit__(self, order="ready"):
        if type(order) is not str or order not in ("ready", "due"):
            raise ValueError(f"order must be 'ready' or 'due', not {shown(order)}")
        self._by_due = order == "due"
        self._objects = []

    def __dealloc__(self):
        self._drop_arrays()

    __class_getitem__ = classmethod(GenericAlias)

    # -- one entry ---------------------------------------------------------------------------

    def push(self, id, item, priority, due_at):
        """Add an entry. O(log n), and O(1) on average for keys in random order.

        Raises `ValueError` if the id is in the heap already.
        """
        cdef uint32_t hash = hash_of(id)
        cdef long checked_priority = priority_of(priority)
        cdef double checked_due_at = due_at_of(due_at)
        self._reserve(1)
        if not self._insert(hash, id, item, checked_priority, checked_due_at):
            raise ValueError(f"an entry has the id {shown(id)} already")

    def pop(self):
        """Remove the first entry and return it. O(log n). `IndexError` if the heap is empty."""
        entry = PyTuple_New(4)
        if self._count == 0:
            raise IndexError("pop from an empty heap")
        self._take(0, entry)
        return entry

    def peek(self):
        """Return the first entry. O(1). `IndexError` if the heap is empty."""
        entry = PyTuple_New(4)
        if self._count == 0:
            raise IndexError("peek into an empty heap")
        self._copy(0, entry)
        return entry

    def remove(self, id):
        """Remove the entry with this id and return it. O(log n)."""
        entry = PyTuple_New(4)
        self._take(self._place_of(id), entry)
        return entry

    def update(self, id, *, priority=None, due_at=None, item=...):
        """Change what is given of the entry with this id. O(log n).

        The entry keeps its place in the order of pushes.
        """
        cdef uint32_t place = self._place_of(id)
        cdef Entry entry = self._entries[place]
        cdef PyObject** objects = PySequence_Fast_ITEMS(self._objects)
        cdef PyObject* old
        cdef long new_priority = (
            self._priority(&entry) if priority is None else priority_of(priority)
        )
        cdef double new_due_at = self._due_at(&entry) if due_at is None else due_at_of(due_at)
        self._set_key(&entry, new_priority, new_due_at, entry.low & (SEQUENCES - 1))
        self._settle(place, entry)
        if item is not ...:
            old = objects[2 * <size_t>entry.slot + 1]
            Py_INCREF(item)
            objects[2 * <size_t>entry.slot + 1] = <PyObject*>item
            Py_DECREF(<object>old)

    # -- many entries ------------------------------------------------------------------------

    def push_many(self, entries):
        """Add entries from an iterable of tuples, all or none. O(k log n) for k entries.

        An exception carries a note that tells which entry it is about.
        """
        cdef list batch = list(entries)
        cdef Py_ssize_t done = 0
        try:
            # Everything that can be wrong with one entry is found before the heap is touched.
            for entry in batch:
                if not isinstance(entry, tuple) or PyTuple_GET_SIZE(entry) != 4:
                    raise TypeError(
                        f"an entry must be a tuple (id, item, priority, due_at), not {shown(entry)}"
                    )
                hash_of(<object>PyTuple_GET_ITEM(entry, 0))
                priority_of(<object>PyTuple_GET_ITEM(entry, 2))
                due_at_of(<object>PyTuple_GET_ITEM(entry, 3))
                done += 1
            self._reserve(done)
            done = self._insert_all(batch)
            if done < PyList_GET_SIZE(batch):
                raise ValueError(f"an entry has the id {shown(batch[done][0])} already")
        except (TypeError, ValueError) as error:
            error.add_note(f"entry {done} of push_many; none was pushed")
            raise

    def pop_many(self, n):
        """Remove the first entries, `n` at most, and return them in order. O(k log n) for k."""
        cdef Py_ssize_t wanted = count_of(n)
        cdef list taken = []
        while wanted > 0:
            entry = PyTuple_New(4)
            if self._count == 0:
                break
            self._take(0, entry)
            taken.append(entry)
            wanted -= 1
        return taken

    def pop_due(self, now, n):
        """Remove the entries with `due_at <= now`, `n` at most, and return them in order.

        O(k log n) for k entries. Only for order "due": `ValueError` on any other. `now` may be
        infinite.
        """
        cdef double limit = seconds_of(now, "now")
        cdef Py_ssize_t wanted = count_of(n)
        cdef list taken = []
        if not self._by_due:
            raise ValueError("pop_due needs a heap of order 'due'; this one's is 'ready'")
        if isnan(limit):
            raise ValueError(f"now must be a number of seconds, not {shown(now)}")
        while wanted > 0:
            entry = PyTuple_New(4)
            if self._count == 0 or self._due_at(&self._entries[0]) > limit:
                break
            self._take(0, entry)
            taken.append(entry)
            wanted -= 1
        return taken

    def clear(self):
        """Remove all entries. O(n)."""
        cdef list objects = []
        objects, self._objects = self._objects, objects  # let go of when the heap is whole again
        self._sequence = 0
        self._drop_arrays()

    # -- questions ---------------------------------------------------------------------------

    def __contains__(self, id):
        """Whether an entry has this id. O(1)."""
        return self._cell_of(hash_of(id), id) != NONE

    def __len__(self):
        """The number of entries. O(1)."""
        return self._count

    def __repr__(self):
        return f"<IndexedHeap order={self.order!r} entries={self._count}>"

    def __reduce__(self):
        raise TypeError("an IndexedHeap cannot be copied or pickled")

    @property
    def order(self):
        """ "ready" or "due"."""
        return "due" if self._by_due else "ready"

    @property
    def nbytes(self):
        """Bytes of memory the heap holds, ids and items not included. O(1)."""
        cdef size_t size = sys.getsizeof(self._objects)
        size += self._capacity * (sizeof(Entry) + sizeof(uint32_t))
        if self._cells is not NULL:
            size += (<size_t>self._mask + 1) * sizeof(Cell)
        return size

    def check(self):
        """Raise `AssertionError` if the heap is broken inside. O(n), for tests."""
        cdef uint32_t place, slot, cell
        cdef uint32_t used = 0
        cdef uint32_t free = 0
        for place in range(self._count):
            slot = self._entries[place].slot
            if place and before(&self._entries[place], &self._entries[(place - 1) >> 1]):
                raise AssertionError(f"the entry at {place} comes before its parent")
            if self._places[slot] != place:
                raise AssertionError(f"the entry at {place} is noted at {self._places[slot]}")
            cell = self._cell_of(self._entries[place].hash, self._objects[2 * slot])
            if cell == NONE or self._cells[cell].slot != slot:
                raise AssertionError(f"the id of the entry at {place} leads elsewhere")
        if self._cells is not NULL:
            for cell in range(self._mask + 1):
                used += self._cells[cell].slot != NONE
        if used != self._count:
            raise AssertionError(f"{used} ids for {self._count} entries")
        slot = self._free
        while slot != self._capacity and free < self._capacity:
            if self._objects[2 * slot] is not None or self._objects[2 * slot + 1] is not None:
                raise AssertionError(f"the free slot {slot} holds something")
            free += 1
            slot = self._places[slot]
        if free + self._count != self._capacity:
            raise AssertionError(f"{free} free slots, {self._count} of {self._capacity} used")

    # -- keys --------------------------------------------------------------------------------

    cdef inline void _set_key(
        self, Entry* entry, long priority, double due_at, uint64_t sequence
    ) noexcept:
        cdef uint64_t rank = <uint64_t>(HIGHEST_PRIORITY - priority)
        cdef uint64_t due = ordered(due_at)
        if self._by_due:
            entry.high = due
            entry.low = rank << 48 | sequence
        else:
            entry.high = rank << 48 | due >> 16
            entry.low = due << 48 | sequence

    cdef inline long _priority(self, const Entry* entry) noexcept:
        cdef uint64_t rank = (entry.low if self._by_due else entry.high) >> 48
        return HIGHEST_PRIORITY - <long>rank

    cdef inline double _due_at(self, const Entry* entry) noexcept:
        return unordered(entry.high if self._by_due else entry.high << 16 | entry.low >> 48)

    # -- ids ---------------------------------------------------------------------------------

    cdef inline uint32_t _cell_of(self, uint32_t hash, object id) except? 0:
        """The cell of an id, or NONE."""
        cdef PyObject** objects = PySequence_Fast_ITEMS(self._objects)
        cdef Cell* cells = self._cells
        cdef uint32_t cell = hash >> self._shift
        if cells is NULL:
            return NONE
        while cells[cell].slot != NONE:
            if cells[cell].hash == hash and same(
                id, <object>objects[2 * <size_t>cells[cell].slot]
            ):
                return cell
            cell = (cell + 1) & self._mask
        return NONE

    cdef inline uint32_t _place_of(self, object id) except? 0:
        cdef uint32_t cell = self._cell_of(hash_of(id), id)
        if cell == NONE:
            raise KeyError(f"no entry has the id {shown(id)}")
        return self._places[self._cells[cell].slot]

    cdef inline void _drop_cell(self, uint32_t hash, uint32_t slot) noexcept:
        """Empty the cell of a slot, and move up those that had to pass it."""
        cdef Cell* cells = self._cells
        cdef uint32_t mask = self._mask
        cdef uint32_t hole = hash >> self._shift
        cdef uint32_t cell
        while cells[hole].slot != slot:
            hole = (hole + 1) & mask
        cell = (hole + 1) & mask
        while cells[cell].slot != NONE:
            # Its own way, from the cell of its hash, is at least as long as from the hole?
            if ((cell - (cells[cell].hash >> self._shift)) & mask) >= ((cell - hole) & mask):
                cells[hole] = cells[cell]
                hole = cell
            cell = (cell + 1) & mask
        cells[hole].slot = NONE

    # -- memory ------------------------------------------------------------------------------

    cdef inline int _reserve(self, uint64_t more) except -1:
        """Make room for this many more entries. Starts no garbage collection."""
        if self._sequence + more > SEQUENCES:
            raise OverflowError("the heap has numbered 2**48 pushes without ever being empty")
        if self._count + more > self._capacity:
            self._grow(self._count + more)
        return 0

    cdef int _grow(self, uint64_t wanted) except -1:
        cdef uint64_t capacity = max(wanted, FIRST_CAPACITY, 2 * <uint64_t>self._capacity)
        cdef void* memory
        cdef uint32_t slot
        if capacity > <uint64_t>NONE >> 1:
            raise MemoryError(f"a heap cannot hold {wanted} entries")
        while <uint64_t>PyList_GET_SIZE(self._objects) < 2 * capacity:
            self._objects.append(None)
        memory = PyMem_Realloc(self._entries, capacity * sizeof(Entry))
        if memory is NULL:
            raise MemoryError
        self._entries = <Entry*>memory
        memory = PyMem_Realloc(self._places, capacity * sizeof(uint32_t))
        if memory is NULL:
            raise MemoryError
        self._places = <uint32_t*>memory
        self._grow_cells(capacity)
        for slot in range(self._capacity, <uint32_t>capacity):
            self._places[slot] = slot + 1  # the last free slot of before leads to these
        self._capacity = <uint32_t>capacity
        return 0

    cdef int _grow_cells(self, uint64_t capacity) except -1:
        """Have a table no more than three quarters full with this many ids."""
        cdef uint32_t bits = 4
        cdef uint32_t mask, place, cell
        cdef Cell* cells
        while (<uint64_t>3 << bits) < 4 * capacity:
            bits += 1
        if self._cells is not NULL and self._shift == 32 - bits:
            return 0
        cells = <Cell*>PyMem_Malloc((<size_t>1 << bits) * sizeof(Cell))
        if cells is NULL:
            raise MemoryError
        memset(cells, 0xFF, (<size_t>1 << bits) * sizeof(Cell))
        mask = <uint32_t>((<uint64_t>1 << bits) - 1)
        for place in range(self._count):
            cell = self._entries[place].hash >> (32 - bits)
            while cells[cell].slot != NONE:
                cell = (cell + 1) & mask
            cells[cell].hash = self._entries[place].hash
            cells[cell].slot = self._entries[place].slot
        PyMem_Free(self._cells)
        self._cells = cells
        self._mask = mask
        self._shift = 32 - bits
        return 0

    cdef int _rest(self) except -1:
        """Start over, now that the heap is empty; give back the memory of a rush."""
        self._sequence = 0
        if self._capacity > IDLE_CAPACITY:
            PyList_SetSlice(self._objects, 0, PyList_GET_SIZE(self._objects), NULL)
            self._drop_arrays()
        return 0

    cdef void _drop_arrays(self) noexcept:
        PyMem_Free(self._entries)
        PyMem_Free(self._places)
        PyMem_Free(self._cells)
        self._entries = NULL
        self._places = NULL
        self._cells = NULL
        self._count = 0
        self._capacity = 0
        self._free = 0

    # -- entries -----------------------------------------------------------------------------

    cdef inline bint _insert(
        self, uint32_t hash, object id, object item, long priority, double due_at
    ) except -1:
        """Add an entry where room is reserved; false if its id is there already."""
        cdef PyObject** objects = PySequence_Fast_ITEMS(self._objects)
        cdef Cell* cells = self._cells
        cdef uint32_t cell = hash >> self._shift
        cdef uint32_t slot = self._free
        cdef Entry entry
        while cells[cell].slot != NONE:
            if cells[cell].hash == hash and same(
                id, <object>objects[2 * <size_t>cells[cell].slot]
            ):
                return False
            cell = (cell + 1) & self._mask
        cells[cell].hash = hash
        cells[cell].slot = slot
        self._free = self._places[slot]
        Py_INCREF(id)
        Py_INCREF(item)
        Py_DECREF(None)  # twice, for the two that make room
        Py_DECREF(None)
        objects[2 * <size_t>slot] = <PyObject*>id
        objects[2 * <size_t>slot + 1] = <PyObject*>item
        entry.hash = hash
        entry.slot = slot
        self._set_key(&entry, priority, due_at, self._sequence)
        self._sequence += 1
        self._count += 1
        self._rise(self._count - 1, entry)
        return True

    cdef Py_ssize_t _insert_all(self, list batch) except -1:
        """Add the entries of `batch`, checked already and room reserved, or none.

        Return how many came before the first one whose id is there already.
        """
        cdef uint64_t sequence = self._sequence
        cdef Py_ssize_t done = 0
        cdef Py_ssize_t index
        cdef PyObject** objects = PySequence_Fast_ITEMS(self._objects)
        cdef uint32_t slot
        for entry in batch:
            if not self._insert(
                hash_of(<object>PyTuple_GET_ITEM(entry, 0)),
                <object>PyTuple_GET_ITEM(entry, 0),
                <object>PyTuple_GET_ITEM(entry, 1),
                priority_of(<object>PyTuple_GET_ITEM(entry, 2)),
                due_at_of(<object>PyTuple_GET_ITEM(entry, 3)),
            ):
                break
            done += 1
        else:
            return done
        for index in range(done):
            slot = self._unlink(self._place_of(<object>PyTuple_GET_ITEM(batch[index], 0)))
            for place in range(2 * <size_t>slot, 2 * <size_t>slot + 2):
                Py_DECREF(<object>objects[place])  # not the last: the batch has one
                Py_INCREF(None)
                objects[place] = <PyObject*>None
        self._sequence = sequence
        return done

    cdef inline int _copy(self, uint32_t place, tuple result) except -1:
        """Fill `result`, a new tuple, with the entry at `place`."""
        cdef const Entry* entry = &self._entries[place]
        cdef PyObject** objects = PySequence_Fast_ITEMS(self._objects) + 2 * <size_t>entry.slot
        cdef object priority = self._priority(entry)
        cdef object due_at = self._due_at(entry)
        Py_INCREF(<object>objects[0])
        Py_INCREF(<object>objects[1])
        Py_INCREF(priority)
        Py_INCREF(due_at)
        PyTuple_SET_ITEM(result, 0, objects[0])
        PyTuple_SET_ITEM(result, 1, objects[1])
        PyTuple_SET_ITEM(result, 2, <PyObject*>priority)
        PyTuple_SET_ITEM(result, 3, <PyObject*>due_at)
        return 0

    cdef inline int _take(self, uint32_t place, tuple result) except -1:
        """Move the entry at `place`, with its references, into `result`, a new tuple."""
        cdef const Entry* entry = &self._entries[place]
        cdef PyObject** objects = PySequence_Fast_ITEMS(self._objects) + 2 * <size_t>entry.slot
        cdef object priority, due_at
        prefetch(objects)
        prefetch(&self._cells[entry.hash >> self._shift])
        priority = self._priority(entry)
        due_at = self._due_at(entry)
        self._unlink(place)
        Py_INCREF(priority)
        Py_INCREF(due_at)
        PyTuple_SET_ITEM(result, 0, objects[0])
        PyTuple_SET_ITEM(result, 1, objects[1])
        PyTuple_SET_ITEM(result, 2, <PyObject*>priority)
        PyTuple_SET_ITEM(result, 3, <PyObject*>due_at)
        Py_INCREF(None)
        Py_INCREF(None)
        objects[0] = <PyObject*>None
        objects[1] = <PyObject*>None
        if self._count == 0:
            self._rest()
        return 0

    cdef inline uint32_t _unlink(self, uint32_t place) noexcept:
        """Take the entry at `place` out. Its objects stay, in a slot that is free: return it."""
        cdef uint32_t hash = self._entries[place].hash
        cdef uint32_t slot = self._entries[place].slot
        self._count -= 1
        if place != self._count:
            self._settle(place, self._entries[self._count])
        self._drop_cell(hash, slot)
        self._places[slot] = self._free
        self._free = slot
        return slot

    # -- order -------------------------------------------------------------------------------

    cdef inline void _rise(self, uint32_t place, Entry entry) noexcept:
        """Put `entry` at `place`, which is free, or above."""
        cdef Entry* entries = self._entries
        cdef uint32_t* places = self._places
        cdef uint32_t parent
        while place > 0:
            parent = (place - 1) >> 1
            if not before(&entry, &entries[parent]):
                break
            entries[place] = entries[parent]
            places[entries[place].slot] = place
            place = parent
        entries[place] = entry
        places[entry.slot] = place

    cdef inline void _sink(self, uint32_t place, Entry entry) noexcept:
        """Put `entry` at `place`, which is free, or below."""
        cdef Entry* entries = self._entries
        cdef uint32_t* places = self._places
        cdef size_t child = 2 * <size_t>place + 1
        while child < self._count:
            prefetch(&entries[2 * child + 1])
            if child + 1 < self._count:
                child += before(&entries[child + 1], &entries[child])
            if not before(&entries[child], &entry):
                break
            entries[place] = entries[child]
            places[entries[place].slot] = place
            place = <uint32_t>child
            child = 2 * child + 1
        entries[place] = entry
        places[entry.slot] = place

    cdef inline void _settle(self, uint32_t place, Entry entry) noexcept:
        """Put `entry` at `place`, which is free, or where it belongs above or below."""
        if place > 0 and before(&entry, &self._entries[(place - 1) >> 1]):
            self._rise(place, entry)
        else:
            self._sink(place, entry)
