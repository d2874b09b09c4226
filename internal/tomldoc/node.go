package tomldoc

// Span is a piece of a file: the bytes from Start up to End. The zero Span
// means the file as a whole.
type Span struct{ Start, End int }

// node is where one key, or one item of a list, is written. The methods work on
// a nil node too: a value without a known place has the zero Span.
type node struct {
	key   Span // the name; zero for an item of a list
	value Span // the value; for a table of its own, the name in its header
	table bool // it has a header of its own, [name]
	whole bool // it was set by "key = value": nothing can be added to it
	keys  map[string]*node
	items []*node
}

func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	return n.keys[key]
}

func (n *node) item(i int) *node {
	if n == nil || i >= len(n.items) {
		return nil
	}
	return n.items[i]
}

func (n *node) keySpan() Span {
	if n == nil {
		return Span{}
	}
	return n.key
}

func (n *node) valueSpan() Span {
	if n == nil {
		return Span{}
	}
	return n.value
}

// open returns the node of a key, made when it is new. Of a list of tables
// ([[name]]) it is the last table, which is where TOML puts what follows.
func (n *node) open(p part) *node {
	child := n.keys[p.name]
	if child == nil {
		child = &node{key: p.span, value: p.span}
		if n.keys == nil {
			n.keys = map[string]*node{}
		}
		n.keys[p.name] = child
	}
	return child.last()
}

func (n *node) last() *node {
	if len(n.items) > 0 {
		return n.items[len(n.items)-1]
	}
	return n
}
