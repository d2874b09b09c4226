package doctor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// at returns the value of a key in an object of JSON, or nil.
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

// nftSets are the elements of a table's named sets and maps.
type nftSets map[string][]any

// elements returns the elements of a set or map, named ("@blocked") or not, or the one value in its
// place. known is false for a name that is not there.
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

// tuples reads the values that a key is compared with: one, or the elements of a set. Each is a
// list, with one item for each part of a concatenation. known is false for values that we cannot
// read.
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

// nftTuple reads an element of a set, with or without a timeout of its own.
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

// nftStrings returns all texts in a value, however deep.
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

// nftKeys names the left side of a match: "tcp dport", "meta l4proto", "ct state"; "?" for one that
// we do not know. A concatenation has several. mask is not nil where only some bits are compared.
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
