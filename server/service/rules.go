package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Numbers of linux/netfilter/nfnetlink.h and nf_tables.h.
const (
	groupNFTables = 7                                 // NFNLGRP_NFTABLES
	msgNewGen     = unix.NFNL_SUBSYS_NFTABLES<<8 | 15 // NFT_MSG_NEWGEN: a transaction has ended
	legacyEvery   = 2 * time.Second                   // old iptables tells nobody: it is looked at
	settle        = 200 * time.Millisecond            // a tool may change rules in several steps
)

// rulesTask calls changed when anybody has changed rules of this network
// namespace. The kernel tells of nftables, and so of iptables-nft; the tables of
// iptables-legacy are compared every two seconds, where there are any.
func rulesTask(changed func()) Task {
	return newTask("watching rules", func(ctx context.Context, ready func()) error {
		conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1 << (groupNFTables - 1)})
		if err != nil {
			return fmt.Errorf("nftables: %w", err)
		}
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		told := make(chan error, 1)
		go tellTransactions(conn, told)
		legacy := newLegacy()
		defer legacy.close()
		legacy.changed()
		ticker := time.NewTicker(legacyEvery)
		defer ticker.Stop()
		ready()
		wait := time.After(settle) // what has changed before we listened
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
			case <-ticker.C:
				if legacy.changed() && wait == nil {
					wait = time.After(settle)
				}
			case <-wait:
				wait = nil
				changed()
			}
		}
	})
}

// tellTransactions sends nil for transactions of nftables, or what failed.
func tellTransactions(conn *netlink.Conn, told chan<- error) {
	for {
		messages, err := conn.Receive()
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			told <- fmt.Errorf("nftables: %w", err)
			return
		}
		some := err != nil // what was missed may have been one
		for _, m := range messages {
			some = some || m.Header.Type == msgNewGen
		}
		if some {
			select {
			case told <- nil:
			default: // one is waiting
			}
		}
	}
}
