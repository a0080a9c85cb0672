// Holds writes to the append-only file in memory until fsync of that file: what a power cut takes with it.
// FSYNC_MS: added latency for fsync; HOLD=0 disables holding; ENOSPC_AFTER=n bytes -> write fails ENOSPC;
// FULL_WHEN=path -> write fails ENOSPC while that path exists
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <fcntl.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#define MX 4096
static char isaof[MX]; static char *buf[MX]; static size_t len[MX], cap[MX];
static pthread_mutex_t mu=PTHREAD_MUTEX_INITIALIZER;
static ssize_t (*rw)(int,const void*,size_t); static int (*rf)(int); static int (*rd)(int);
static int (*rc)(int); static int (*ro)(const char*,int,...); static int (*ro64)(const char*,int,...);
static long fs_ms; static int hold=1; static long enospc=-1, total=0; static const char*full;
__attribute__((constructor)) static void init(){
 rw=dlsym(RTLD_NEXT,"write"); rf=dlsym(RTLD_NEXT,"fsync"); rd=dlsym(RTLD_NEXT,"fdatasync"); rc=dlsym(RTLD_NEXT,"close");
 ro=dlsym(RTLD_NEXT,"open"); ro64=dlsym(RTLD_NEXT,"open64");
 if(getenv("FULL_WHEN")) full=strdup(getenv("FULL_WHEN")); // the server overwrites its environment to set its title
 if(getenv("FSYNC_MS")) fs_ms=atol(getenv("FSYNC_MS")); if(getenv("HOLD")) hold=atoi(getenv("HOLD")); if(getenv("ENOSPC_AFTER")) enospc=atol(getenv("ENOSPC_AFTER"));}
static void mark(const char*p,int fd,int fl){ if(fd>=0&&fd<MX){ isaof[fd]= (strstr(p,".incr.aof")!=NULL) && (fl&(O_WRONLY|O_RDWR)); }}
int open(const char*p,int fl,...){ va_list a; va_start(a,fl); int m=va_arg(a,int); va_end(a); int fd=ro(p,fl,m); mark(p,fd,fl); return fd;}
int open64(const char*p,int fl,...){ va_list a; va_start(a,fl); int m=va_arg(a,int); va_end(a); int fd=ro64(p,fl,m); mark(p,fd,fl); return fd;}
static void flushfd(int fd){ pthread_mutex_lock(&mu); size_t o=0; while(o<len[fd]){ ssize_t r=rw(fd,buf[fd]+o,len[fd]-o); if(r<=0)break; o+=r;} len[fd]=0; pthread_mutex_unlock(&mu);}
ssize_t write(int fd,const void*b,size_t n){
 if(fd>=0&&fd<MX&&isaof[fd]){
  if(full&&access(full,F_OK)==0){errno=ENOSPC;return -1;}
  if(enospc>=0&&total+(long)n>enospc){errno=ENOSPC;return -1;}
  total+=n;
  if(!hold) return rw(fd,b,n);
  pthread_mutex_lock(&mu); if(len[fd]+n>cap[fd]){cap[fd]=(len[fd]+n)*2; buf[fd]=realloc(buf[fd],cap[fd]);} memcpy(buf[fd]+len[fd],b,n); len[fd]+=n; pthread_mutex_unlock(&mu); return n;}
 return rw(fd,b,n);}
int fsync(int fd){ if(fd>=0&&fd<MX&&isaof[fd]){ if(fs_ms)usleep(fs_ms*1000); flushfd(fd);} return rf(fd);}
int fdatasync(int fd){ if(fd>=0&&fd<MX&&isaof[fd]){ if(fs_ms)usleep(fs_ms*1000); flushfd(fd);} return rd(fd);}
int close(int fd){ if(fd>=0&&fd<MX&&isaof[fd]){ flushfd(fd); isaof[fd]=0;} return rc(fd);}
