package nftables

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Listing is what `nft -j list table inet knockd` says.
type Listing struct {
	Exists bool
	Sets   []ListedSet
	Chains []ListedChain
}

// ListedSet is a set or map in the kernel.
type ListedSet struct {
	Name     string
	Map      bool
	Fixed    bool // its elements are part of the rules, not put there by packets
	Elements []Element
}

// Element is an element of a set.
type Element struct {
	Key     string        // an address; of a fixed set as in "tcp . 80-90", "" if we would write it otherwise
	Data    string        // of a map: the state, as "0:2"; of a fixed one the verdict, as "goto gate-tcp-80"
	Timeout time.Duration // 0: none
	Expires time.Duration // whole seconds
}

// text is a fixed element as we write it.
func (e Element) text() string {
	if e.Data == "" {
		return e.Key
	}
	return e.Key + " : " + e.Data
}

// ListedChain is a chain in the kernel, with the comments of its rules.
type ListedChain struct {
	Name     string
	Comments []string
}

func (s *ListedSet) kind() string {
	if s.Map {
		return "map"
	}
	return "set"
}

// Chain returns the chain of that name, or nil.
func (l *Listing) Chain(name string) *ListedChain {
	for i := range l.Chains {
		if l.Chains[i].Name == name {
			return &l.Chains[i]
		}
	}
	return nil
}

// Set returns the set or map of that name, or nil.
func (l *Listing) Set(name string) *ListedSet {
	for i := range l.Sets {
		if l.Sets[i].Name == name {
			return &l.Sets[i]
		}
	}
	return nil
}

// jsonSet is a set or map as nft's JSON has it (libnftables-json(5)).
type jsonSet struct {
	Name  string            `json:"name"`
	Flags json.RawMessage   `json:"flags"` // a list; of one flag some versions print just that
	Elem  []json.RawMessage `json:"elem"`
}

// ParseListing reads the output of `nft -j list table inet knockd`, or "": no table.
func ParseListing(text string) (*Listing, error) {
	var doc struct {
		Nftables []struct {
			Table *struct{} `json:"table"`
			Set   *jsonSet  `json:"set"`
			Map   *jsonSet  `json:"map"`
			Chain *struct {
				Name string `json:"name"`
			} `json:"chain"`
			Rule *struct {
				Chain   string `json:"chain"`
				Comment string `json:"comment"`
			} `json:"rule"`
		} `json:"nftables"`
	}
	l := &Listing{}
	if text == "" {
		return l, nil
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("nft -j: %w", err)
	}
	index := map[string]int{}
	for _, o := range doc.Nftables {
		switch {
		case o.Table != nil:
			l.Exists = true
		case o.Chain != nil:
			index[o.Chain.Name] = len(l.Chains)
			l.Chains = append(l.Chains, ListedChain{Name: o.Chain.Name})
		case o.Rule != nil:
			if i, ok := index[o.Rule.Chain]; ok {
				l.Chains[i].Comments = append(l.Chains[i].Comments, o.Rule.Comment)
			}
		case o.Set != nil, o.Map != nil:
			s, err := listedSet(o.Set, o.Map)
			if err != nil {
				return nil, err
			}
			l.Sets = append(l.Sets, s)
		}
	}
	return l, nil
}

func listedSet(set, mapped *jsonSet) (ListedSet, error) {
	s, raw := ListedSet{Map: mapped != nil}, set
	if mapped != nil {
		raw = mapped
	}
	s.Name = raw.Name
	s.Fixed = !strings.Contains(string(raw.Flags), `"timeout"`)
	for _, e := range raw.Elem {
		if s.Fixed {
			s.Elements = append(s.Elements, fixedElement(e, s.Map))
			continue
		}
		element, err := parseElement(e, s.Map)
		if err != nil {
			return s, fmt.Errorf("nft -j: %s: %w", s.Name, err)
		}
		s.Elements = append(s.Elements, element)
	}
	return s, nil
}

// fixedElement reads an element of the rules.
func fixedElement(raw json.RawMessage, isMap bool) Element {
	var e Element
	key := raw
	if isMap {
		var pair []json.RawMessage
		var verdict map[string]struct{ Target string }
		if json.Unmarshal(raw, &pair) != nil || len(pair) != 2 || json.Unmarshal(pair[1], &verdict) != nil {
			return e
		}
		for verb, to := range verdict {
			e.Data = verb + " " + to.Target
		}
		key = pair[0]
	}
	var parts struct{ Concat []json.RawMessage }
	if json.Unmarshal(key, &parts) != nil {
		parts.Concat = []json.RawMessage{key}
	}
	var texts []string
	for i, part := range parts.Concat {
		text, ok := keyPart(part, i > 0 && i == len(parts.Concat)-1)
		if !ok {
			return e
		}
		texts = append(texts, text)
	}
	e.Key = strings.Join(texts, " . ")
	return e
}

// keyPart reads a part of a key: a word, or where ports are a number or a range.
func keyPart(raw json.RawMessage, isPort bool) (text string, ok bool) {
	var port int
	var ports struct{ Range []int }
	switch {
	case !isPort:
		err := json.Unmarshal(raw, &text)
		return text, err == nil
	case json.Unmarshal(raw, &port) == nil:
		return strconv.Itoa(port), true
	case json.Unmarshal(raw, &ports) == nil && len(ports.Range) == 2:
		return fmt.Sprintf("%d-%d", ports.Range[0], ports.Range[1]), true
	}
	return "", false
}

// parseElement reads an element: a bare key, or an object with its times; of a map
// in a list with its data.
func parseElement(raw json.RawMessage, isMap bool) (Element, error) {
	var e Element
	key := raw
	if isMap {
		var pair []json.RawMessage
		if err := json.Unmarshal(raw, &pair); err != nil || len(pair) != 2 {
			return e, fmt.Errorf("%s is no element of a map", raw)
		}
		key = pair[0]
		if err := json.Unmarshal(pair[1], &e.Data); err != nil {
			e.Data = string(pair[1]) // newer versions print a number
		}
	}
	if json.Unmarshal(key, &e.Key) == nil {
		return e, nil
	}
	var timed struct {
		Elem struct {
			Val     string `json:"val"`
			Timeout int64  `json:"timeout"`
			Expires int64  `json:"expires"`
		} `json:"elem"`
	}
	if err := json.Unmarshal(key, &timed); err != nil || timed.Elem.Val == "" {
		return e, fmt.Errorf("%s is no element that we know", raw)
	}
	e.Key = timed.Elem.Val
	e.Timeout, e.Expires = time.Duration(timed.Elem.Timeout)*time.Second, time.Duration(timed.Elem.Expires)*time.Second
	return e, nil
}
