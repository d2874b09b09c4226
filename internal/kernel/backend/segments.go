package backend

import "slices"

// Range is a range of ports, both ends included, and what it is used for.
type Range[T any] struct {
	First, Last uint16
	Use         T
}

// Segment is a range of ports that are used alike.
type Segment[T any] struct {
	First, Last uint16
	Uses        []T // at least one, in the order in which the ranges were given
}

// Segments divides ranges that may overlap into segments that do not, by port.
func Segments[T any](ranges []Range[T]) []Segment[T] {
	var borders []int // where a range begins, or one has just ended
	for _, r := range ranges {
		borders = append(borders, int(r.First), int(r.Last)+1)
	}
	slices.Sort(borders)
	borders = slices.Compact(borders)
	cut := make([]Segment[T], max(len(borders)-1, 0))
	for i := range cut {
		cut[i] = Segment[T]{First: uint16(borders[i]), Last: uint16(borders[i+1] - 1)}
	}
	for _, r := range ranges {
		i, _ := slices.BinarySearch(borders, int(r.First))
		for ; i < len(cut) && cut[i].First <= r.Last; i++ {
			cut[i].Uses = append(cut[i].Uses, r.Use)
		}
	}
	return slices.DeleteFunc(cut, func(s Segment[T]) bool { return len(s.Uses) == 0 })
}
