#!/bin/sh
# Builds the test guest: DIR/kernel and DIR/initramfs, of a stock Debian kernel, busybox, e2fsprogs and the program
# guest-init.sh. Fetches the kernel's package by apt-get, installs nothing.   guest-build.sh DIR
#
# Needs (Debian): busybox-static cpio kmod e2fsprogs; nbd-client for the job `kernel`
set -eu
PATH=$PATH:/usr/sbin:/sbin
dir=$(realpath "$1")
init=$(dirname "$(realpath "$0")")/guest-init.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
[ -n "$package" ] || { echo "apt-cache knows no linux-image-cloud-amd64: apt-get update" >&2; exit 1; }
apt-get -qq -o APT::Sandbox::User=root download "$package" >&2
dpkg-deb -x ./*.deb package
release=$(ls package/lib/modules)
depmod -b "$work/package" "$release"

for folder in bin proc sys dev mnt tmp etc modules; do mkdir -p "tree/$folder"; done
cp "$(command -v busybox)" tree/bin/busybox
# Its mke2fs knows no ext4, and that of e2fsprogs has the same name; so has nbd-client, which is not meant.
for applet in $(busybox --list); do
  case $applet in busybox | mke2fs | mkfs.ext2 | nbd-client) ;; *) ln -s busybox "tree/bin/$applet" ;; esac
done
for program in mke2fs e2fsck nbd-client; do
  file=$(command -v $program) || continue
  cp "$file" "tree/bin/$program"
  ldd "$file" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "tree$(dirname "$library")"
    cp -L "$library" "tree$library"
  done
done
cp /etc/mke2fs.conf tree/etc/

for module in virtio_pci virtio_blk virtio_net nbd; do
  modprobe -d "$work/package" -S "$release" --show-depends $module | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r file; do
  cp "$file" tree/modules/
  basename "$file" >> tree/modules/order
done

cp "$init" tree/init
chmod 755 tree/init
mkdir -p "$dir"
(cd tree && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -6) > "$dir/initramfs"
# Last: whoever finds it finds all.
cp "package/boot/vmlinuz-$release" "$dir/kernel"
