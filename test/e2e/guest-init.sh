#!/bin/sh
# The only program of the test guest: does one job on its disk (/dev/vda), says what became of it on the console, powers off.
# guest.ts starts it and reads the console. Words come from the kernel's command line as guest.WORD=VALUE:
#
#   job     look     what the guest sees of its disk
#           fs       a file system with `count` files of `mib` MiB and their sums: made, checked, read back
#           verify   what `fs` left, in another life of the guest
#           raw      `count` MiB past the cache, read back past the cache
#           ledger   `count` numbered records in `slots` blocks; "written N" once record N is synced
#           trim     `count` MiB written, deleted and trimmed; then the start of the disk is discarded
#           kernel   `fs` through the guest's own kernel client, by TCP (`port`, `export`, `connections`), which leaves and
#                    comes back in between
#   run     a word that is in every record;  rest  seconds between two records
#
# The last line is "VERDICT good" or "VERDICT bad REASON".
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev 2>/dev/null
mount -t tmpfs none /tmp
echo 4 > /proc/sys/kernel/printk
while read -r module; do insmod "/modules/$module"; done < /modules/order

word() {
  found=$(tr ' ' '\n' < /proc/cmdline | sed -n "s/^guest\.$1=//p")
  echo "${found:-$2}"
}
verdict() { echo "VERDICT $*"; sync; poweroff -f; }
bad() { dmesg | tail -n 12; verdict bad "$@"; sleep 60; }
must() { "$@" > /tmp/said 2>&1 || { cat /tmp/said; bad "$*"; }; }
forget() { sync; echo 3 > /proc/sys/vm/drop_caches; }
noise() { dd if=/dev/urandom of="$1" bs=1M count="$2" 2> /dev/null; }

disk=/dev/vda
# QEMU's network of one guest: the host is 10.0.2.2.
join() { must nbd-client 10.0.2.2 "$(word port 10809)" $disk -N "$(word export disk)" -C "$(word connections 1)"; }
part() { must nbd-client -d $disk; }
if [ "$(word job look)" = kernel ]; then
  disk=/dev/nbd0
  ifconfig lo 127.0.0.1 up
  must ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
  join
fi
left=100
until [ -b $disk ]; do
  left=$((left - 1))
  [ $left -gt 0 ] || bad no disk
  sleep 0.1
done
count=$(word count 8) mib=$(word mib 4) slots=$(word slots 256) run=$(word run r1) rest=$(word rest 0)
queue=/sys/block/${disk#/dev/}/queue
echo "disk $(blockdev --getsize64 $disk) bytes, cache '$(cat $queue/write_cache)'," \
  "discard $(cat $queue/discard_max_bytes), zeroes $(cat $queue/write_zeroes_max_bytes)," \
  "serial $(cat /sys/block/${disk#/dev/}/serial 2> /dev/null)"

format() { must /bin/mke2fs -q -F -t ext4 -E nodiscard -b 4096 $disk; }
attach() { must mount -t ext4 -o errors=remount-ro $disk /mnt; }
detach() { must umount /mnt; must /bin/e2fsck -f -n $disk; }
sums() { (cd /mnt && sha256sum -c sums > /tmp/sums 2>&1) || { grep -v OK /tmp/sums; bad a file has changed; }; }
block() { printf 'record %s %d\n' "$run" "$1" | dd bs=4096 conv=sync 2> /dev/null; }

fill() {
  format
  attach
  file=0
  while [ $file -lt "$count" ]; do
    file=$((file + 1))
    noise /tmp/noise "$mib"
    must cp /tmp/noise "/mnt/f$file"
    (cd /tmp && sha256sum noise | sed "s/noise/f$file/") >> /mnt/sums
  done
  detach
}

case $(word job look) in
  look) ;;
  fs)
    fill
    forget
    attach
    sums
    detach
    ;;
  kernel)
    fill
    part
    join
    attach
    sums
    detach
    part
    ;;
  verify) attach; sums; detach ;;
  raw)
    noise /tmp/noise "$count"
    must dd if=/tmp/noise of=$disk bs=1M oflag=direct conv=fsync
    forget
    dd if=$disk bs=1M count="$count" iflag=direct 2> /tmp/said | cmp - /tmp/noise || bad other bytes came back
    ;;
  ledger)
    n=0
    while [ $n -lt "$count" ]; do
      n=$((n + 1))
      block $n | dd of=$disk bs=4096 seek=$((n % slots)) oflag=direct conv=notrunc,fsync 2> /tmp/said ||
        { cat /tmp/said; bad "record $n"; }
      echo "written $n"
      [ "$rest" = 0 ] || sleep "$rest"
    done
    forget
    [ $n -gt "$slots" ] && n=$((count - slots)) || n=0
    while [ $n -lt "$count" ]; do
      n=$((n + 1))
      found=$(dd if=$disk bs=4096 skip=$((n % slots)) count=1 iflag=direct 2> /dev/null | head -n 1)
      [ "$found" = "record $run $n" ] || bad "block $((n % slots)): '$found' and not record $n"
    done
    ;;
  trim)
    format
    attach
    must dd if=/dev/urandom of=/mnt/big bs=1M count="$count" conv=fsync
    must rm /mnt/big
    sync
    must fstrim /mnt
    detach
    echo "trimmed"
    must blkdiscard -o 0 -l 4194304 $disk
    forget
    [ "$(dd if=$disk bs=1M count=4 iflag=direct 2> /dev/null | tr -d '\0' | wc -c)" = 0 ] || bad discarded and not zeroes
    ;;
  *) bad unknown job ;;
esac
verdict good
