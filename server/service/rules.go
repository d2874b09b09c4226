package service

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"os"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Numbers of linux/netfilter/nfnetlink.h and nf_tables.h.
const (
	groupNFTables = 7                                 // NFNLGRP_NFTABLES
	msgNewGen     = unix.NFNL_SUBSYS_NFTABLES<<8 | 15 // NFT_MSG_NEWGEN: a transaction has ended
	genThread     = 2                                 // NFTA_GEN_PROC_PID: of which thread, in the machine's numbers
	genName       = 3                                 // NFTA_GEN_PROC_NAME: that thread's name
	nfgenLength   = 4                                 // struct nfgenmsg, before the attributes
	typeAt        = 4                                 // struct nlmsghdr's member nlmsg_type
	legacyEvery   = 2 * time.Second                   // iptables-legacy sends no message: its tables are compared
	legacyShare   = 200                               // … but at most so often that it takes this part of a processor
	legacyLate    = 4 * time.Second                   // … and no later
	settle        = 200 * time.Millisecond            // a tool may change rules in several steps
)

// rulesTask calls changed when anybody but this process has changed rules of this network namespace.
// The kernel sends a message for nftables, and so for iptables-nft. The tables of iptables-legacy are
// compared every two seconds, where there are any; large ones less often.
func rulesTask(changed func()) *task {
	return newTask("watching rules", func(ctx context.Context, ready func()) error {
		conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1 << (groupNFTables - 1)})
		if err != nil {
			return fmt.Errorf("nftables: %w", err)
		}
		defer conn.Close()
		if err := conn.SetBPF(onlyTransactions()); err != nil {
			return fmt.Errorf("nftables: %w", err)
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		told := make(chan error, 1)
		go watchTransactions(conn, told)
		legacy := newLegacy()
		defer legacy.close()
		legacy.changed()
		compare := time.After(legacyEvery)
		ready()
		wait := time.After(settle) // rules may have changed before we listened
		for {
			select {
			case <-ctx.Done():
				return nil
			case err := <-told:
				if err != nil && ctx.Err() == nil {
					return err
				}
				if wait == nil {
					wait = time.After(settle)
				}
			case <-compare:
				began := time.Now()
				if legacy.changed() && wait == nil {
					wait = time.After(settle)
				}
				compare = time.After(min(max(legacyEvery, time.Since(began)*legacyShare), legacyLate))
			case <-wait:
				wait = nil
				changed()
			}
		}
	})
}

// watchTransactions sends nil for transactions of nftables, or what failed.
func watchTransactions(conn *netlink.Conn, told chan<- error) {
	for {
		messages, err := conn.Receive()
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			told <- fmt.Errorf("nftables: %w", err)
			return
		}
		some := err != nil // a message that was missed may have been one
		for _, m := range messages {
			some = some || m.Header.Type == msgNewGen && !byUs(m.Data)
		}
		if some {
			select {
			case told <- nil:
			default: // one is waiting
			}
		}
	}
}

// onlyTransactions is a filter that lets the ends of transactions pass. The kernel also tells of each
// element, such as each token.
func onlyTransactions() []bpf.RawInstruction {
	word := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, msgNewGen)) // as a filter loads it
	program, _ := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: typeAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(word), SkipFalse: 1},
		bpf.RetConstant{Val: math.MaxUint32},
		bpf.RetConstant{Val: 0},
	}) // constants: no error
	return program
}

// byUs reports whether the message about a transaction is of a thread of this process. In a namespace of
// processes, where threads have other numbers, no transaction is.
func byUs(message []byte) bool {
	if len(message) < nfgenLength {
		return false
	}
	attributes, err := netlink.UnmarshalAttributes(message[nfgenLength:])
	if err != nil {
		return false
	}
	var thread uint32
	var name string
	for _, a := range attributes {
		switch {
		case a.Type == genThread && len(a.Data) == 4:
			thread = binary.BigEndian.Uint32(a.Data)
		case a.Type == genName:
			name = strings.TrimRight(string(a.Data), "\x00")
		}
	}
	is, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/comm", thread))
	return err == nil && strings.TrimSpace(string(is)) == name
}

// legacy notices changes in the tables of iptables-legacy. The kernel hands out a whole table in one
// call; its counters are left out of the comparison.
type legacy struct {
	seed  maphash.Seed
	last  [2]uint64
	buf   []byte
	socks [2]int // -1: not open
}

func newLegacy() *legacy { return &legacy{seed: maphash.MakeSeed(), socks: [2]int{-1, -1}} }

func (l *legacy) close() {
	for i, fd := range l.socks {
		if fd >= 0 {
			unix.Close(fd)
			l.socks[i] = -1
		}
	}
}

// layout is where struct ipt_entry and struct ip6t_entry have their parts.
type layout struct {
	names                           string // the file that lists the tables in use
	domain, level                   int
	nfcache, next, counters, length int
}

func layouts() [2]layout {
	return [2]layout{
		{"/proc/thread-self/net/ip_tables_names", unix.AF_INET, unix.SOL_IP, 84, 90, 96, 112},
		{"/proc/thread-self/net/ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6, 136, 142, 152, 168},
	}
}

// Numbers of linux/netfilter_ipv4/ip_tables.h, the same in ip6_tables.h.
const (
	getInfo     = 64
	getEntries  = 65
	tableName   = 32       // bytes
	infoLength  = 84       // struct ipt_getinfo
	infoSize    = 80       // its member size
	entriesHead = 40       // struct ipt_get_entries before the table
	maxTable    = 64 << 20 // larger ones are not compared
)

// changed reports whether a filter table is not what it was at the last call.
func (l *legacy) changed() bool {
	was := l.last
	for i, lay := range layouts() {
		l.last[i] = l.fingerprint(i, lay)
	}
	return l.last != was
}

// fingerprint returns a number that differs when the table does; 0: no table, or it
// cannot be read.
func (l *legacy) fingerprint(i int, lay layout) uint64 {
	names, err := os.ReadFile(lay.names)
	if err != nil || !slices.Contains(strings.Fields(string(names)), "filter") {
		return 0 // to ask for the table would make it
	}
	if l.socks[i] < 0 {
		fd, err := unix.Socket(lay.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return 0
		}
		l.socks[i] = fd
	}
	info := make([]byte, infoLength)
	copy(info, "filter")
	if !getsockopt(l.socks[i], lay.level, getInfo, info) {
		return 0
	}
	size := int(binary.NativeEndian.Uint32(info[infoSize:]))
	if size > maxTable {
		return 0
	}
	l.buf = slices.Grow(l.buf[:0], entriesHead+size)[:entriesHead+size]
	clear(l.buf[:entriesHead])
	copy(l.buf, "filter")
	binary.NativeEndian.PutUint32(l.buf[tableName:], uint32(size))
	if !getsockopt(l.socks[i], lay.level, getEntries, l.buf) {
		return 0 // it has changed between the two calls: the next fingerprint differs
	}
	table := l.buf[entriesHead:]
	lay.forget(table)
	return maphash.Bytes(l.seed, table)
}

// forget clears the fields that packets change: each entry's counters, and the kernel's marks.
func (lay layout) forget(table []byte) {
	for len(table) >= lay.length {
		next := int(binary.NativeEndian.Uint16(table[lay.next:]))
		if next < lay.length || next > len(table) {
			return
		}
		clear(table[lay.nfcache : lay.nfcache+4])
		clear(table[lay.counters : lay.counters+16])
		table = table[next:]
	}
}

// getsockopt fills b, whose first bytes say what is asked for.
func getsockopt(fd, level, option int, b []byte) bool {
	length := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&length)), 0)
	return errno == 0
}
