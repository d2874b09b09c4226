package node

import (
	"time"

	"github.com/nats-io/nats.go"

	"knockkit/server/fleet"
)

// Tell tells a text to all nodes that are connected, at once: also while the engines have no leader, and the
// store does not answer.
func (n *Node) Tell(id ID, value []byte) {
	nc := n.client.Load()
	if nc == nil {
		return // Put has it stored later
	}
	for _, s := range n.seals {
		name := s.name(id)
		_ = nc.Publish(subjectOfTexts(s), append([]byte(name), s.seal(name, value)...)) // as above
	}
}

func subjectOfTexts(s *seals) string { return "knockd." + s.word("texts") }

// listenTo takes in what others tell.
func (n *Node) listenTo(nc *nats.Conn, s *seals) error {
	_, err := nc.Subscribe(subjectOfTexts(s), func(m *nats.Msg) {
		const length = 2 * len(ID{})
		if len(m.Data) < length {
			n.forged.Add(1)
			return
		}
		name := string(m.Data[:length])
		id, ok := s.id(name)
		text, err := s.open(name, m.Data[length:])
		if !ok || err != nil {
			n.forged.Add(1)
			return
		}
		n.take(fleet.Batch{Records: []fleet.Record{{ID: id, Value: text, Secret: fleet.Told}}})
	})
	return err
}

// returned says that another node is there again, which was last heard at a time.
func (n *Node) returned(last time.Time) { n.take(fleet.Batch{Returned: last}) }
