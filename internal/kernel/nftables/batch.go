package nftables

import (
	"context"
	"errors"

	gnft "github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// batch is a transaction of changes to elements of our table. One that is larger than the buffer of the
// socket becomes several.
type batch struct {
	conn  *gnft.Conn
	table *gnft.Table
	err   error // the first

	limit, size int       // elements of a transaction, at most and so far
	waiting     *gnft.Set // of the elements that are not in a message yet
	removes     bool      // they are to be removed
	elements    []gnft.SetElement
}

// Sizes of messages.
const (
	elementsEach = 500 // elements of a message: an attribute has 64 KiB at most
	elementSize  = 80  // bytes of an element, rounded up
	socketBuffer = 64 << 20
)

func newBatch() (*batch, error) {
	room := 0
	conn, err := gnft.New(gnft.AsLasting(), gnft.WithSockOptions(func(c *netlink.Conn) error {
		// Who is not root of the machine gets less than this.
		_, _ = c.SetWriteBuffer(socketBuffer), c.SetReadBuffer(socketBuffer)
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		controlled := raw.Control(func(fd uintptr) {
			room, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
		})
		return errors.Join(controlled, err)
	}))
	if err != nil {
		return nil, err
	}
	table := &gnft.Table{Name: TableName, Family: gnft.TableFamilyINet}
	return &batch{conn: conn, table: table, limit: max(room/2/elementSize, elementsEach)}, nil
}

func (b *batch) close() { _ = b.conn.CloseLasting() }

// set is one of the table's sets and maps, as far as elements need it.
func (b *batch) set(name string) *gnft.Set {
	return &gnft.Set{Table: b.table, Name: name, IsMap: name == tokensMap, HasTimeout: true}
}

// put adds an element.
func (b *batch) put(set string, e gnft.SetElement) { b.queue(set, e, false) }

// remove removes an element. The transaction fails where it is not there.
func (b *batch) remove(set string, e gnft.SetElement) { b.queue(set, e, true) }

// clear removes all elements.
func (b *batch) clear(set string) {
	b.message()
	b.conn.FlushSet(b.set(set))
}

func (b *batch) queue(set string, e gnft.SetElement, remove bool) {
	if b.waiting == nil || b.waiting.Name != set || b.removes != remove || len(b.elements) == elementsEach {
		b.message()
		b.waiting, b.removes = b.set(set), remove
	}
	b.elements = append(b.elements, e)
	b.size++
}

// message makes a message of the elements that wait. A full transaction is committed first.
func (b *batch) message() {
	if len(b.elements) == 0 {
		return
	}
	add := b.conn.SetAddElements
	if b.removes {
		add = b.conn.SetDeleteElements
	}
	b.note(add(b.waiting, b.elements))
	b.elements, b.waiting = nil, nil
	if b.size+elementsEach > b.limit {
		b.note(b.conn.Flush())
		b.size = 0
	}
}

// flush commits what is left.
func (b *batch) flush(ctx context.Context) {
	b.note(ctx.Err())
	b.message()
	if b.err == nil {
		b.note(b.conn.Flush())
	}
}

func (b *batch) note(err error) {
	if b.err == nil {
		b.err = err
	}
}
