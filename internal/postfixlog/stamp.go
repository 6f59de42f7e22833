package postfixlog

import "time"

// clockStep is how far stamps may run backwards and still be held: a clock that was set back, or lines of several
// processes that overtook each other. What happened later then never claims an earlier time. Longer leaps back mean
// another log file, and are believed.
const clockStep = time.Hour

// stamps reads the time at the front of a line. Traditional stamps ("Nov 23 11:39:33", RFC 3164) have neither year nor
// zone: the zone is the host's, and the year is the latest that doesn't lead past the reference time, or, without one,
// counted on from a given year whenever December turns into January.
type stamps struct {
	location  *time.Location
	reference time.Time
	year      int // of the last stamp, when there is no reference

	month time.Month // of the last traditional stamp
	last  time.Time  // the latest moment given out

	text  [len(time.Stamp)]byte // the last traditional stamp read, and what it meant
	meant time.Time
}

// read takes the stamp off the front of the line and returns the moment in UTC.
func (s *stamps) read(line []byte) (at time.Time, rest []byte, ok bool) {
	if len(line) < len(s.text)+1 {
		return time.Time{}, nil, false
	}
	if line[0] >= '0' && line[0] <= '9' {
		at, rest, ok = readRFC3339(line)
	} else {
		at, ok = s.readTraditional(line[:len(s.text)])
		rest = line[len(s.text):]
	}
	if !ok || len(rest) == 0 || rest[0] != ' ' {
		return time.Time{}, nil, false
	}
	return s.hold(at), rest[1:], true
}

func (s *stamps) hold(at time.Time) time.Time {
	if at.Before(s.last) && s.last.Sub(at) <= clockStep {
		return s.last
	}
	s.last = at
	return at
}

func (s *stamps) readTraditional(text []byte) (time.Time, bool) {
	if string(text) == string(s.text[:]) {
		return s.meant, true
	}
	month := monthOf(text)
	day, ok1 := twoDigits(text[4:], true)
	hour, ok2 := twoDigits(text[7:], false)
	minute, ok3 := twoDigits(text[10:], false)
	second, ok4 := twoDigits(text[13:], false)
	if month == 0 || !ok1 || !ok2 || !ok3 || !ok4 || text[3] != ' ' || text[6] != ' ' || text[9] != ':' || text[12] != ':' ||
		day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, false
	}
	at := s.withYear(func(year int) time.Time {
		return time.Date(year, month, day, hour, minute, second, 0, s.location)
	}, month)
	at = s.inOrder(at)
	copy(s.text[:], text)
	s.meant, s.month = at, month
	return at, true
}

func (s *stamps) withYear(in func(year int) time.Time, month time.Month) time.Time {
	if s.reference.IsZero() {
		if s.month == time.December && month == time.January {
			s.year++
		}
		return in(s.year).UTC()
	}
	// A day of grace: the log's zone and clock may not be ours.
	limit := s.reference.Add(24 * time.Hour)
	for year := limit.In(s.location).Year(); ; year-- {
		at := in(year)
		if !at.After(limit) && at.Month() == month || limit.Year()-year > 8 { // 29 February may be eight years away
			return at.UTC()
		}
	}
}

// inOrder settles the hour that comes twice when summer time ends, and of which [time.Date] takes either: the earlier
// reading, until that would run backwards by more than lines overtake each other.
func (s *stamps) inOrder(at time.Time) time.Time {
	const hour = time.Hour
	first := at
	if s.sameWall(at, at.Add(-hour)) {
		first = at.Add(-hour)
	}
	back := s.last.Sub(first)
	again := s.sameWall(s.last, s.last.Add(-hour)) // the last stamp was in the second of the two hours
	if s.sameWall(first, first.Add(hour)) && back <= clockStep && (back > hour/2 || again && back > 0) {
		return first.Add(hour)
	}
	return first
}

// sameWall tells whether the host's clock shows the same at both times.
func (s *stamps) sameWall(a, b time.Time) bool {
	a, b = a.In(s.location), b.In(s.location)
	return a.Hour() == b.Hour() && a.Day() == b.Day()
}

// readRFC3339 reads "2026-11-23T11:39:33.123456+01:00", with or without a fraction, and with the zone as rsyslog ("+01:00",
// "Z") or journalctl -o short-iso ("+0100") writes it.
func readRFC3339(line []byte) (at time.Time, rest []byte, ok bool) {
	const seconds = len("2006-01-02T15:04:05")
	if len(line) <= seconds || line[4] != '-' || line[7] != '-' || line[10] != 'T' || line[13] != ':' || line[16] != ':' {
		return time.Time{}, nil, false
	}
	century, ok0 := twoDigits(line, false)
	year, ok1 := twoDigits(line[2:], false)
	month, ok2 := twoDigits(line[5:], false)
	day, ok3 := twoDigits(line[8:], false)
	hour, ok4 := twoDigits(line[11:], false)
	minute, ok5 := twoDigits(line[14:], false)
	second, ok6 := twoDigits(line[17:], false)
	if !ok0 || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || month < 1 || month > 12 || day < 1 || day > 31 ||
		hour > 23 || minute > 59 || second > 60 || century < 19 {
		return time.Time{}, nil, false
	}
	rest = line[seconds:]
	nanos := 0
	if rest[0] == '.' {
		digits := 0
		for rest = rest[1:]; len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9'; rest = rest[1:] {
			if digits < 9 {
				nanos = nanos*10 + int(rest[0]-'0')
				digits++
			}
		}
		for ; digits < 9; digits++ {
			nanos *= 10
		}
	}
	offset, rest, ok := readZone(rest)
	if !ok {
		return time.Time{}, nil, false
	}
	return time.Date(100*century+year, time.Month(month), day, hour, minute, second-offset, nanos, time.UTC), rest, true
}

// readZone reads a zone as seconds east of UTC.
func readZone(b []byte) (offset int, rest []byte, ok bool) {
	if len(b) > 0 && b[0] == 'Z' {
		return 0, b[1:], true
	}
	if len(b) < len("+0100") || b[0] != '+' && b[0] != '-' {
		return 0, nil, false
	}
	negative := b[0] == '-'
	hours, ok1 := twoDigits(b[1:], false)
	b = b[3:]
	if b[0] == ':' {
		b = b[1:]
	}
	minutes, ok2 := twoDigits(b, false)
	if !ok1 || !ok2 || hours > 23 || minutes > 59 {
		return 0, nil, false
	}
	offset = hours*3600 + minutes*60
	if negative {
		offset = -offset
	}
	return offset, b[2:], true
}

// twoDigits reads a number of two digits; padded allows a space for the first.
func twoDigits(b []byte, padded bool) (int, bool) {
	if len(b) < 2 || b[1] < '0' || b[1] > '9' {
		return 0, false
	}
	if padded && b[0] == ' ' {
		return int(b[1] - '0'), true
	}
	if b[0] < '0' || b[0] > '9' {
		return 0, false
	}
	return int(b[0]-'0')*10 + int(b[1]-'0'), true
}

func monthOf(text []byte) time.Month {
	switch string(text[:3]) {
	case "Jan":
		return time.January
	case "Feb":
		return time.February
	case "Mar":
		return time.March
	case "Apr":
		return time.April
	case "May":
		return time.May
	case "Jun":
		return time.June
	case "Jul":
		return time.July
	case "Aug":
		return time.August
	case "Sep":
		return time.September
	case "Oct":
		return time.October
	case "Nov":
		return time.November
	case "Dec":
		return time.December
	}
	return 0
}
