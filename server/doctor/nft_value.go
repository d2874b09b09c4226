package doctor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// at returns what is at a key of an object of JSON, or nil.
func at(v any, key string) any {
	object, _ := v.(map[string]any)
	return object[key]
}

// word returns the text or number at a key, or "".
func word(v any, key string) string {
	switch is := at(v, key).(type) {
	case string:
		return is
	case json.Number:
		return is.String()
	}
	return ""
}

// nftSets are the elements of a table's sets and maps that have names.
type nftSets map[string][]any

// elements returns those of a set or map, with or without a name ("@blocked"), or the one
// value that it is instead. known is false for a name that is not there.
func (sets nftSets) elements(v any) (all []any, known bool) {
	switch is := v.(type) {
	case string:
		if name, named := strings.CutPrefix(is, "@"); named {
			all, known = sets[name]
			return all, known
		}
	case []any:
		return is, true
	case map[string]any:
		if set, ok := is["set"].([]any); ok {
			return set, true
		}
	}
	return []any{v}, true
}

// tuples reads what a key is compared with: a value, or the elements of a set. Each is
// a list of one, or of as many as the key's concatenation has. known is false for what
// we cannot read.
func (sets nftSets) tuples(v any) (all [][]string, known bool) {
	elements, known := sets.elements(v)
	for _, e := range elements {
		one, ok := nftTuple(e)
		all, known = append(all, one), known && ok
	}
	return all, known
}

// pairs reads the elements of a map.
func (sets nftSets) pairs(v any) (all [][]any, known bool) {
	elements, known := sets.elements(v)
	for _, e := range elements {
		pair, _ := e.([]any)
		if len(pair) != 2 {
			return nil, false
		}
		all = append(all, pair)
	}
	return all, known
}

// nftTuple reads an element of a set, with or without an end of its own.
func nftTuple(v any) (all []string, known bool) {
	if elem := at(v, "elem"); elem != nil {
		return nftTuple(at(elem, "val"))
	}
	parts, joined := at(v, "concat").([]any)
	if !joined {
		return nftValues(v)
	}
	known = true
	for _, part := range parts {
		values, ok := nftValues(part)
		all, known = append(all, values...), known && ok && len(values) == 1
	}
	return all, known
}

// nftValues reads a value, a range or a prefix, or several.
func nftValues(v any) (values []string, known bool) {
	switch is := v.(type) {
	case nil:
		return nil, false
	case json.Number:
		return []string{is.String()}, true
	case string:
		return []string{is}, !strings.HasPrefix(is, "@")
	case []any:
		known = true
		for _, part := range is {
			more, ok := nftValues(part)
			values, known = append(values, more...), known && ok
		}
		return values, known
	}
	if prefix := at(v, "prefix"); prefix != nil {
		return []string{word(prefix, "addr") + "/" + word(prefix, "len")}, true
	}
	if ends, _ := at(v, "range").([]any); len(ends) == 2 {
		first, ok1 := nftValues(ends[0])
		last, ok2 := nftValues(ends[1])
		return []string{strings.Join(first, "") + "-" + strings.Join(last, "")}, ok1 && ok2
	}
	return []string{"…"}, false
}

// nftStrings returns all texts of a value, however they are nested.
func nftStrings(v any) (all []string) {
	parts, _ := v.([]any)
	switch is := v.(type) {
	case string:
		return []string{is}
	case map[string]any:
		parts = slices.Collect(maps.Values(is))
	}
	for _, part := range parts {
		all = append(all, nftStrings(part)...)
	}
	return all
}

// nftKeys names the left side: "tcp dport", "meta l4proto", "ct state"; "?" for what
// we do not know. There are several of a concatenation. mask is not nil where only some
// bits are asked for.
func nftKeys(left any) (keys, mask []string) {
	if parts, ok := at(left, "concat").([]any); ok {
		for _, part := range parts {
			of, _ := nftKeys(part)
			keys = append(keys, of...)
		}
		return keys, nil
	}
	if and, _ := at(left, "&").([]any); len(and) == 2 {
		keys, _ = nftKeys(and[0])
		return keys, append([]string{}, nftStrings(and[1])...)
	}
	if of := at(left, "payload"); of != nil {
		return []string{word(of, "protocol") + " " + word(of, "field")}, nil
	}
	for _, kind := range []string{"meta", "ct"} {
		if of := at(left, kind); of != nil {
			return []string{kind + " " + word(of, "key")}, nil
		}
	}
	if of := at(left, "fib"); of != nil {
		return []string{fmt.Sprintf("fib %s %s", strings.Join(nftStrings(at(of, "flags")), ","), word(of, "result"))}, nil
	}
	return []string{"?"}, nil
}
